//! Gaussian mixtures, closed-form trajectories and theorem checks for GD, NGD and SpecGD.
