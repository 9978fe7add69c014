//! Embedded and hub data sets in one schema, and their imbalanced constructions.
