//! Exact, cheap, honest memory sampling.
#[cfg(target_os = "linux")]
pub mod cgroup;
pub mod config;
pub mod error;
#[cfg(target_os = "linux")]
mod held;
pub mod processes;
#[cfg(target_os = "linux")]
mod procfs;
#[cfg(target_os = "linux")]
pub mod psi;
#[cfg(target_os = "linux")]
pub mod pss;
pub mod reading;
pub mod sample;
pub mod sampler;
pub mod settings;
pub mod source;
#[cfg(target_os = "linux")]
mod text;
pub mod throttle;
pub mod units;

pub use config::{Tier, TrackConfig};
pub use reading::{Absent, Reading};
pub use sample::{
    CgroupEvents, CgroupMemory, ProcessMemory, PsiLine, PsiMemory, Sample, Stamp, SystemMemory,
};
pub use settings::{Current, Settings};
pub use throttle::{Pass, Throttle};
pub use units::{Rate, Size, Span, UnitError};
