//! Exact, cheap, honest memory sampling.

#![deny(unsafe_code)]

pub mod alloc;
#[cfg(target_os = "linux")]
pub mod cgroup;
pub mod component;
pub mod config;
pub mod error;
pub mod growth;
#[cfg(target_os = "linux")]
mod held;
#[cfg(feature = "history")]
pub mod history;
#[cfg(target_os = "linux")]
mod own;
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
#[cfg(any(
    feature = "jemalloc",
    feature = "tracking",
    all(feature = "glibc", target_os = "linux", target_env = "gnu")
))]
#[expect(unsafe_code, reason = "C allocators and a global allocator cannot be had without")]
mod sys;
#[cfg(target_os = "linux")]
mod text;
pub mod throttle;
pub mod units;

pub use config::{Tier, TrackConfig};
#[cfg(target_os = "linux")]
pub use own::{OwnRss, peak, rss};
pub use reading::{Absent, Reading};
pub use sample::{
    CgroupEvents, CgroupMemory, ProcessMemory, PsiLine, PsiMemory, Sample, Stamp, SystemMemory,
};
pub use settings::{Current, Settings};
pub use throttle::{Pass, Throttle};
pub use units::{Rate, Size, Span, UnitError};
