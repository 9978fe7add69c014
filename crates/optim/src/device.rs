//! The choice of a device, with the CPU as the last resort.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device, Tensor};

use crate::{Error, Result};

/// A device to compute on, as users name it: `auto`, `cpu`, `cuda`, `cuda:N`, `metal` or `metal:N`, with N from 0.
///
/// CUDA and Metal need the features `cuda` and `metal` of this crate; see also [`DeviceChoice::open`].
///
/// ```
/// use isorate_optim::DeviceChoice;
///
/// assert_eq!("cuda".parse::<DeviceChoice>()?, DeviceChoice::Cuda(0));
/// assert_eq!(DeviceChoice::Metal(1).to_string(), "metal:1");
/// assert!("gpu".parse::<DeviceChoice>().is_err());
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA or Metal device, if the program was built for one, otherwise the CPU.
    Auto,
    /// The CPU.
    #[default]
    Cpu,
    /// The CUDA device of this number.
    Cuda(usize),
    /// The Metal device of this number.
    Metal(usize),
}

/// What [`DeviceChoice::open`] found.
#[derive(Clone, Debug)]
pub struct OpenDevice {
    /// The device.
    pub device: Device,
    /// Its name: never [`DeviceChoice::Auto`], and [`DeviceChoice::Cpu`] after a fallback.
    pub name: DeviceChoice,
    /// One line for the user where this is not the device asked for.
    pub note: Option<String>,
}

impl DeviceChoice {
    /// Opens the device. Where that fails, it is the CPU, with one line that says why.
    ///
    /// A CUDA or Metal device counts as open after one small computation on it, since kernels that do not fit the device or
    /// its driver fail there and not before. [`DeviceChoice::Auto`] is silent where the program was built for the CPU alone.
    ///
    /// A program built with `cuda` is linked against CUDA's libraries: on a machine without them and without a driver it
    /// does not start, whatever the choice.
    ///
    /// ```
    /// use isorate_optim::DeviceChoice;
    ///
    /// let open = DeviceChoice::Cuda(99).open();
    /// assert!(open.device.is_cpu());
    /// assert!(open.note.unwrap().starts_with("cuda:99 cannot be used: "));
    /// ```
    pub fn open(self) -> OpenDevice {
        let (wanted, found) = match self {
            Self::Cuda(_) | Self::Metal(_) => (self, self.accelerator()),
            Self::Auto if cfg!(feature = "cuda") => (Self::Cuda(0), Self::Cuda(0).accelerator()),
            Self::Auto if cfg!(feature = "metal") => (Self::Metal(0), Self::Metal(0).accelerator()),
            Self::Auto | Self::Cpu => (Self::Cpu, Ok(Device::Cpu)),
        };
        match found {
            Ok(device) => OpenDevice { device, name: wanted, note: None },
            Err(reason) => OpenDevice {
                device: Device::Cpu,
                name: Self::Cpu,
                note: Some(format!("{wanted} cannot be used: {reason}; the CPU is used instead")),
            },
        }
    }

    /// A CUDA or Metal device on which a computation succeeded, or why there is none.
    fn accelerator(self) -> Result<Device, String> {
        let device = match self {
            Self::Cuda(_) if !cfg!(feature = "cuda") => Err(not_built_for("cuda")),
            Self::Metal(_) if !cfg!(feature = "metal") => Err(not_built_for("metal")),
            Self::Cuda(n) => Device::new_cuda(n).map_err(one_line),
            Self::Metal(n) => {
                // candle indexes the list of devices without a look at its length.
                let count = metal_devices();
                if n < count { Device::new_metal(n).map_err(one_line) } else { Err(format!("{count} Metal devices were found")) }
            }
            Self::Auto | Self::Cpu => Ok(Device::Cpu),
        }?;
        let one = || Tensor::ones(1, DType::F32, &device)?.affine(1.0, 1.0)?.to_vec1::<f32>();
        one().map_err(one_line)?;
        Ok(device)
    }
}

fn not_built_for(feature: &str) -> String {
    format!("the program was built without the feature `{feature}`")
}

#[cfg(feature = "metal")]
fn metal_devices() -> usize {
    candle_metal_kernels::metal::Device::all().len()
}

#[cfg(not(feature = "metal"))]
fn metal_devices() -> usize {
    0
}

/// What went wrong, without the backtrace that candle appends when `RUST_BACKTRACE` is set.
fn one_line(error: candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => one_line(*inner),
        other => other.to_string().lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(": "),
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::UnknownDevice(text.to_owned());
        let (kind, number) = match text.split_once(':') {
            // `usize` also reads "+1".
            Some((kind, n)) if n.bytes().all(|b| b.is_ascii_digit()) => (kind, Some(n.parse().map_err(|_| unknown())?)),
            Some(_) => return Err(unknown()),
            None => (text, None),
        };
        match (kind, number) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("cuda", n) => Ok(Self::Cuda(n.unwrap_or(0))),
            ("metal", n) => Ok(Self::Metal(n.unwrap_or(0))),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Cpu => f.pad("cpu"),
            Self::Cuda(n) => f.pad(&format!("cuda:{n}")),
            Self::Metal(n) => f.pad(&format!("metal:{n}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let cases = [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda:0", DeviceChoice::Cuda(0)),
            ("cuda:12", DeviceChoice::Cuda(12)),
            ("metal:3", DeviceChoice::Metal(3)),
        ];
        for (text, choice) in cases {
            assert_eq!(text.parse::<DeviceChoice>().unwrap(), choice);
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!("metal".parse::<DeviceChoice>().unwrap(), DeviceChoice::Metal(0));
        for text in [
            "",
            "gpu",
            "CUDA",
            "cuda:",
            "cuda:-1",
            "cuda:+1",
            "cuda:x",
            "cuda:0:1",
            "cpu:0",
            "auto:0",
            "cuda:99999999999999999999",
        ] {
            let message = text.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(message.starts_with(&format!("device `{text}` is not one of auto, cpu, cuda")), "{message}");
            assert!(message.contains("\nhint: "));
        }
    }

    #[test]
    fn a_backtrace_is_left_out() {
        let inner = candle_core::Error::Msg("no such device\n  at all".into());
        let error = candle_core::Error::WithBacktrace {
            inner: Box::new(inner),
            backtrace: Box::new(std::backtrace::Backtrace::force_capture()),
        };
        assert!(error.to_string().lines().count() > 2, "candle's own message holds the backtrace");
        assert_eq!(one_line(error), "no such device: at all");
    }

    #[test]
    fn the_cpu_needs_no_note() {
        let open = DeviceChoice::Cpu.open();
        assert!(open.device.is_cpu() && open.name == DeviceChoice::Cpu && open.note.is_none());
    }

    #[cfg(not(any(feature = "cuda", feature = "metal")))]
    #[test]
    fn without_the_features_there_is_the_cpu() {
        let auto = DeviceChoice::Auto.open();
        assert!(auto.device.is_cpu() && auto.name == DeviceChoice::Cpu && auto.note.is_none());
        for (choice, note) in [
            (
                DeviceChoice::Cuda(0),
                "cuda:0 cannot be used: the program was built without the feature `cuda`; the CPU is used instead",
            ),
            (
                DeviceChoice::Metal(7),
                "metal:7 cannot be used: the program was built without the feature `metal`; the CPU is used instead",
            ),
        ] {
            let open = choice.open();
            assert!(open.device.is_cpu() && open.name == DeviceChoice::Cpu);
            assert_eq!(open.note.unwrap(), note);
        }
    }
}
