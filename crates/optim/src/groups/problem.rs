//! What can be wrong with a routing.

use super::Role;

/// Why parameters cannot be divided into groups.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RoutingProblem {
    /// There are no groups.
    #[error("there are no parameter groups")]
    NoGroups,
    /// A group without a name.
    #[error("group {position} of the list has an empty name")]
    EmptyName {
        /// Its place in the list, from 1.
        position: usize,
    },
    /// Two groups have the same name.
    #[error("two groups are called `{0}`")]
    DuplicateName(String),
    /// A condition that nothing can meet.
    #[error("group `{group}`: {condition}")]
    Condition {
        /// The group.
        group: String,
        /// The condition and what is wrong with it.
        condition: &'static str,
    },
    /// A group behind one that takes everything.
    #[error("group `{group}` can get no parameter, since `{before}` before it has no conditions\nhint: put `{before}` last")]
    Unreachable {
        /// The group.
        group: String,
        /// The group before it.
        before: String,
    },
    /// A parameter that no group takes.
    #[error(
        "no group takes parameter `{name}` of shape {shape:?} and role `{role}`; tried {}\nhint: end the list with a group without conditions, with a rule for the rest or frozen",
        list(groups)
    )]
    Unassigned {
        /// The parameter.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its role.
        role: Role,
        /// The groups, in order.
        groups: Vec<String>,
    },
    /// A pattern that matches no name.
    #[error(
        "group `{group}`: the pattern `{pattern}` matches no parameter; there are {}\nhint: a pattern covers the whole name, and `*` stands for any characters; settings for several models say optional = true",
        list(names)
    )]
    UnmatchedPattern {
        /// The group.
        group: String,
        /// The pattern.
        pattern: String,
        /// The names of all parameters.
        names: Vec<String>,
    },
    /// A group with patterns that gets no parameter.
    #[error("group `{group}` gets no parameter: `{name}` matches its patterns, but {reason}")]
    EmptyGroup {
        /// The group.
        group: String,
        /// A parameter that matches the patterns.
        name: String,
        /// Why it went elsewhere.
        reason: String,
    },
    /// Nothing is left to update.
    #[error("all {parameters} parameters are frozen\nhint: leave the optimizer out, or give a group a rule")]
    AllFrozen {
        /// The number of parameters.
        parameters: usize,
    },
    /// A group that does not exist.
    #[error("no group is called `{name}`; there are {}", list(groups))]
    UnknownGroup {
        /// The name.
        name: String,
        /// The groups.
        groups: Vec<String>,
    },
}

/// The first names of a list.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown}, … ({} in all)", names.len()) } else { shown }
}
