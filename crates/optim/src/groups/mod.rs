//! Parameter groups: which parameter gets which rule.

mod group;
mod param;
mod problem;
mod role;
mod routing;
mod rules;
mod table;

pub use group::{Group, ShapeClass};
pub use param::NamedParam;
pub use problem::RoutingProblem;
pub use role::Role;
pub use routing::Routing;
pub use rules::GroupRules;

pub(crate) use param::natural;
pub(crate) use table::{GroupLine, describe};
