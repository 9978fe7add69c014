//! What the command line accepts: a contract with its users. (The doc comments are the help texts.)

#![allow(clippy::doc_markdown, clippy::struct_field_names, reason = "doc comments and names are what users see")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use isorate_data::{ClassImbalance, Origin};
use isorate_optim::DeviceChoice;

/// Reproduces, checks and draws "How Muon's Spectral Design Benefits Generalization: A Study on Imbalanced Data"
/// (arXiv 2510.22980).
///
/// Data go to standard output, messages to standard error. Exit codes: 0 done, 1 a check failed, 2 wrong use or input,
/// 130 interrupted.
#[derive(Parser)]
#[command(name = "isorate", version, max_term_width = 110)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    Figures(Figures),
    VerifyTheory(VerifyTheory),
    Trajectory(Trajectory),
    Diagnose(Diagnose),
    Run(Run),
    Tune(Tune),
    Replay(Replay),
    Fetch(Fetch),
    Claims(Claims),
    Costs(Costs),
    Bench(Bench),
    #[command(subcommand)]
    Data(DataCommand),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scale {
    /// Seconds: shows that everything works
    Smoke,
    /// Minutes on two cores, with embedded data
    Default,
    /// The paper's models and data
    Paper,
}

/// Which images stand behind the names of data sets.
#[derive(Args)]
pub struct Images {
    /// Origin of MNIST and Fashion-MNIST: embedded (the subsets in the program), hub (the complete sets, see `isorate fetch`) or
    /// idx:FOLDER (the complete set in IDX files)
    #[arg(long = "data", value_name = "ORIGIN", default_value = "embedded")]
    pub origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    Table,
    /// JSON for programs
    Json,
}

/// Where results are kept and specifications found.
#[derive(Args)]
pub struct Places {
    /// Folder of the results
    #[arg(long, value_name = "DIR", default_value = ".isorate/results")]
    pub store: PathBuf,
    /// Folder of the experiment specifications
    #[arg(long, value_name = "DIR", default_value = "paper/experiments")]
    pub experiments: PathBuf,
}

/// Where unfinished runs are kept, and how often they are written there.
#[derive(Args)]
pub struct Unfinished {
    /// Folder for unfinished runs and for weights that fine-tuning starts from
    #[arg(long, value_name = "DIR", default_value = ".isorate/work")]
    pub work: PathBuf,
    /// Seconds after which an unfinished run is written down again; an interrupted run goes on from there
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub save_every: u64,
}

/// Run what is missing, then draw every figure and table
///
/// Finished runs are taken from the results folder and never made again. Files are written whole or not at all.
#[derive(Args)]
#[command(after_help = "Example:\n  isorate figures f2 f5 --out drafts")]
pub struct Figures {
    /// Figures and tables to draw, such as f1 or t2; all if none is named
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// List what there is, and draw nothing
    #[arg(long)]
    pub list: bool,
    /// How much to compute
    #[arg(long, value_enum, default_value = "default")]
    pub scale: Scale,
    #[command(flatten)]
    pub images: Images,
    /// Device that networks are trained on: cpu, cuda, cuda:N, metal, metal:N or auto
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: DeviceChoice,
    /// Folder for the figures and tables
    #[arg(long, value_name = "DIR", default_value = "figures")]
    pub out: PathBuf,
    /// Draw from the frozen results in figures/results, and run nothing
    #[arg(long, conflicts_with = "store")]
    pub frozen: bool,
    #[command(flatten)]
    pub unfinished: Unfinished,
    #[command(flatten)]
    pub places: Places,
}

/// Check simulation against closed form, and the theorems' bounds
///
/// Exits with 1 if a check fails.
#[derive(Args)]
#[command(after_help = "Example:\n  isorate verify-theory --format json")]
pub struct VerifyTheory {
    /// Form of the output
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Random parameter sets for each theorem
    #[arg(long, value_name = "N", default_value_t = 4000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub sets: u32,
    /// Seed of the parameter sets
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RuleName {
    /// Gradient descent
    Gd,
    /// Normalized gradient descent
    Ngd,
    /// Spectral gradient descent
    Specgd,
    /// Sign gradient descent
    Signgd,
    /// Spectral power U Σ^p Vᵀ; needs --power
    Power,
    /// Muon with the exact polar factor
    Muon,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// The continuous-time closed form
    ClosedForm,
    /// The discrete rule on a real weight matrix, with step --eta
    Simulation,
}

/// Print the spectral components α_c at given times, for a Gaussian mixture or given moments
///
/// The model is a TOML file of one of four kinds. A mixture with random orthogonal means has `priors`, `mean_norm`,
/// `noise_std`, and optionally `dim` and `seed`; one with given means has `priors`, `means` (a row for each class) and
/// `noise_std`. Moments in random shared bases have `s_yx` and `s_xx` (a value for each component), and optionally `dim`
/// and `seed`; dense ones `sigma_yx` (E[y xᵀ], row by row) and `sigma_xx` (E[x xᵀ]).
///
/// Component c is class c of a mixture, and the c-th value or singular value of moments, the largest first. The closed
/// form needs orthogonal means, or moments that satisfy Condition 1 up to a relative residual of 1e-6; the simulation
/// takes any.
#[derive(Args)]
#[command(after_help = "Example:\n  isorate trajectory --model mixture.toml --rule specgd --times 0,0.1,0.2")]
pub struct Trajectory {
    /// The mixture or the moments, in TOML
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// The update rule
    #[arg(long, value_enum)]
    pub rule: RuleName,
    /// Increasing times, separated by commas; in a simulation, multiples of eta
    #[arg(long, value_name = "T0,T1,…", value_delimiter = ',', required = true)]
    pub times: Vec<f64>,
    /// Layers of the aligned deep linear model
    #[arg(long, value_name = "L", default_value_t = 1)]
    pub depth: usize,
    /// Initial value e^(−D) of every layer of a deep model; the limit D → ∞ if not given
    #[arg(long, value_name = "D")]
    pub delta: Option<f64>,
    /// Closed form or simulation
    #[arg(long, value_enum, default_value = "closed-form")]
    pub source: Source,
    /// Step size of a simulation; for gd on a linear model less than 2/max s_xx
    #[arg(long, value_name = "E", default_value_t = 0.001)]
    pub eta: f64,
    /// Exponent p in [0, 1] of the spectral power
    #[arg(long, value_name = "P")]
    pub power: Option<f64>,
    /// Momentum of muon, in [0, 1)
    #[arg(long, value_name = "B")]
    pub momentum: Option<f64>,
    /// Form of the output
    #[arg(long, value_enum, default_value = "csv")]
    pub format: CsvFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Features {
    /// As they are
    Raw,
    /// The mean subtracted
    Centered,
    /// The mean subtracted, and each column divided by its standard deviation
    Standardized,
}

/// Would a spectral optimizer help on my imbalanced data, and until when?
///
/// Takes a CSV or parquet file of numbers with a label column, a parquet file of images (column `image` as on the Hugging Face hub), or
/// a data set that comes with the program: mnist, fashion-mnist, wine-quality.
///
/// Predicts from the moments of the data how far gradient descent falls behind spectral gradient descent on the rarest classes, says how
/// far that can be trusted, and follows both rules on the data with a linear model to compare.
#[derive(Args)]
#[command(
    after_help = "Example:\n  isorate diagnose wine-quality --out drafts\n  isorate diagnose measurements.csv --label species --ignore id"
)]
pub struct Diagnose {
    /// The file, or the name of a data set
    #[arg(value_name = "FILE|NAME")]
    pub data: String,
    #[command(flatten)]
    pub images: Images,
    /// Column that holds the class
    #[arg(long, value_name = "COLUMN", default_value = "label")]
    pub label: String,
    /// Column to leave out; may be given several times
    #[arg(long, value_name = "COLUMN")]
    pub ignore: Vec<String>,
    /// What is done to the features; by default raw for images and standardized for tables
    #[arg(long, value_enum)]
    pub features: Option<Features>,
    /// Make the data imbalanced: the last half of the classes keep R times fewer rows than the largest class
    #[arg(long, value_name = "R")]
    pub step: Option<f64>,
    /// Seed of random subsets
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Step size that steps are counted with; chosen from the data by default
    #[arg(long, value_name = "E")]
    pub step_size: Option<f64>,
    /// Form of the output
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Folder for a figure: diagnosis.svg, diagnosis.png and diagnosis.pdf
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CsvFormat {
    /// Columns t,alpha_0,…
    Csv,
}

/// Run one experiment into the results folder
///
/// Says first what is left and, where runs of the same kind are there, how long it takes. Finished runs are taken from the folder. A run
/// that was interrupted, by Ctrl-C or by force, goes on from where it was written last, to the same numbers. A run that diverged or failed is
/// a result like any other.
#[derive(Args)]
#[command(after_help = "Example:\n  isorate run paper/experiments/f1.toml --scale smoke")]
pub struct Run {
    /// The specification
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How much to compute
    #[arg(long, value_enum, default_value = "default")]
    pub scale: Scale,
    #[command(flatten)]
    pub images: Images,
    /// Device that networks are trained on: cpu, cuda, cuda:N, metal, metal:N or auto
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: DeviceChoice,
    /// Do only part I of N of the runs, I from 1
    #[arg(long, value_name = "I/N", value_parser = parse_shard)]
    pub shard: Option<Shard>,
    /// Go on after an interruption, and make runs that failed again; finished runs are always kept, with or without this
    #[arg(long)]
    pub resume: bool,
    /// Only list the runs: there, interrupted or missing
    #[arg(long)]
    pub list: bool,
    #[command(flatten)]
    pub unfinished: Unfinished,
    /// Folder of the results
    #[arg(long, value_name = "DIR", default_value = ".isorate/results")]
    pub store: PathBuf,
}

/// One part of the runs of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    pub index: usize,
    pub count: usize,
}

fn parse_shard(text: &str) -> Result<Shard, String> {
    let rule = "must be I/N with 1 ≤ I ≤ N, such as 1/4";
    let (index, count) = text.split_once('/').ok_or(rule)?;
    let (index, count): (usize, usize) = (index.parse().map_err(|_| rule)?, count.parse().map_err(|_| rule)?);
    if index == 0 || index > count { Err(rule.into()) } else { Ok(Shard { index: index - 1, count }) }
}

/// Choose every optimizer's step size on validation data
///
/// Runs the grid of step sizes for the tuning seeds, then writes the choices beside the specification: `f1.toml` has
/// `f1.tuned.toml`. A grid whose best step size is at its edge is made wider, up to four times. Test data take no part in the choice.
#[derive(Args)]
#[command(after_help = "Example:\n  isorate tune paper/experiments/f1.toml")]
pub struct Tune {
    /// The specifications; if none is named, every one in paper/experiments that has step sizes to choose
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How much to compute
    #[arg(long, value_enum, default_value = "default")]
    pub scale: Scale,
    #[command(flatten)]
    pub images: Images,
    /// Device that networks are trained on: cpu, cuda, cuda:N, metal, metal:N or auto
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: DeviceChoice,
    #[command(flatten)]
    pub unfinished: Unfinished,
    /// Folder of the results
    #[arg(long, value_name = "DIR", default_value = ".isorate/results")]
    pub store: PathBuf,
}

/// Run reference trajectories through our optimizers
///
/// A file holds `w.0` and, for each step K, `grad.K` and `w.K`; its metadata entry `case` says the optimizer and its
/// settings. Exits with 1 if a largest difference is above the tolerance.
#[derive(Args)]
#[command(after_help = "Example:\n  isorate replay crates/optim/tests/golden/muon-exact-4x6.safetensors --tol 1e-9")]
pub struct Replay {
    /// Reference trajectories (safetensors)
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Largest difference that passes; by default the one that fits the rule and its reference
    #[arg(long, value_name = "TOL", value_parser = parse_tolerance)]
    pub tol: Option<f64>,
    /// Device that the weights are on: cpu, cuda, cuda:N, metal, metal:N or auto
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: DeviceChoice,
}

fn parse_tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(tolerance) if tolerance >= 0.0 && tolerance.is_finite() => Ok(tolerance),
        _ => Err("must be a finite number, not negative".into()),
    }
}

/// Fetch data sets and weights from the Hugging Face hub, and check every byte
///
/// Says first what it takes: files, bytes to download, bytes that are there. Files are kept in the cache of huggingface_hub (HF_HUB_CACHE, else
/// hub in HF_HOME), at the commits of the manifest. Sizes and checksums come from the manifest, else from the hub's listing at the first fetch;
/// they are written into .isorate/lock.toml in the cache and enforced from then on. A file that is not what it must be is set aside, and the next
/// fetch takes it again.
///
/// Also obeyed: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT (seconds of silence, 30), ISORATE_HUB_RETRIES (repetitions of a
/// failed request, 4), ISORATE_HUB_MANIFEST (a file in the form of crates/hub/manifest.toml, whose entries replace those of the same name).
///
/// Exits with 1 if a file was downloaded that is not what it must be.
#[derive(Args)]
#[command(after_help = "Example:\n  isorate fetch mnist cifar-10 --plan")]
pub struct Fetch {
    /// What to fetch, such as mnist or bert-base-uncased; if none is named, all that the paper scale needs
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Only say what would be fetched
    #[arg(long, visible_alias = "dry-run")]
    pub plan: bool,
}

/// Show each claim of the paper with its state
#[derive(Args)]
#[command(after_help = "Example:\n  isorate claims --frozen")]
pub struct Claims {
    /// Form of the output
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Scale of the runs that are looked at
    #[arg(long, value_enum, default_value = "default")]
    pub scale: Scale,
    /// Judge the frozen results in figures/results
    #[arg(long, conflicts_with = "store")]
    pub frozen: bool,
    /// The claims
    #[arg(long, value_name = "FILE", default_value = "paper/claims.toml")]
    pub claims: PathBuf,
    /// Put the table between the claims markers of this file instead of printing it
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Exit with 1 if that file has another table (needs --write); changes nothing
    #[arg(long, requires = "write")]
    pub check: bool,
    #[command(flatten)]
    pub places: Places,
}

/// Show how long the stored runs of each experiment took
///
/// Minutes are wall times, added up over the runs; the choice of step sizes is not counted.
#[derive(Args)]
#[command(after_help = "Example:\n  isorate costs --frozen")]
pub struct Costs {
    /// Form of the output
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Scale of the runs that are looked at
    #[arg(long, value_enum, default_value = "default")]
    pub scale: Scale,
    /// Look at the frozen results in figures/results
    #[arg(long, conflicts_with = "store")]
    pub frozen: bool,
    #[command(flatten)]
    pub places: Places,
}

/// Time operations and whole training steps
///
/// Each work is timed in turn with a 1024×1024×1024 matrix product in f32, after calls that do not count; times are medians.
/// An orthogonalization of a matrix [r, c], r ≤ c, counts as 5·(4r²c + 2r³) floating-point operations. The peak memory of a
/// whole training step is that of a process of its own.
#[derive(Args)]
#[command(after_help = "Example:\n  isorate bench orthogonalize train/mlp/muon --format json")]
pub struct Bench {
    /// Parts of the names of works; all works if none is given
    #[arg(value_name = "FILTER")]
    pub filters: Vec<String>,
    /// List the names, and time nothing
    #[arg(long)]
    pub list: bool,
    /// Form of the output
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Threads; by default RAYON_NUM_THREADS, or one for each core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Do one work a few times, and print the peak memory of this process in MiB, or null where that is not known
    #[arg(long, hide = true, value_name = "WORK", exclusive = true)]
    pub peak_memory_of: Option<String>,
}

/// Show what data sets there are, and what is in them
#[derive(Subcommand)]
pub enum DataCommand {
    List(List),
    Inspect(Inspect),
}

/// List the data sets: what each is, its rows, its licence, and where it is
#[derive(Args)]
pub struct List {
    /// Form of the output
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// Show what a data set holds: files, rows of each split, class and group, imbalance, licence and revision
///
/// A set that is made of others, such as colored-mnist, is made anew from the seed. One that only the hub has must have been
/// fetched.
#[derive(Args)]
#[command(after_help = "Example:\n  isorate data inspect colored-mnist --out drafts")]
pub struct Inspect {
    /// The data set; `isorate data list` has the names
    #[arg(value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub images: Images,
    /// Make the training images imbalanced by class: step:R, exponential:F or heavy-tail
    #[arg(long, value_name = "LAW")]
    pub imbalance: Option<ClassImbalance>,
    /// Seed of what is made, and of the choice of examples
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Form of the output
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Folder for a contact sheet, NAME.png: example images of each group
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}
