//! Exact, cheap, honest memory sampling: of this process, another one, a whole tree, a cgroup, the machine.
//!
//! - *Exact*: the kernel's own figures, from the files where they are exact; a peak that misses no spike; of a tree, PSS,
//!   so that pages which several processes share count once.
//! - *Cheap*: descriptors are held, and a sample allocates nothing.
//! - *Honest*: a [`Reading`] is a value or the reason why there is none, never 0 for unknown.
//!
//! It is no profiler: it says how much memory there is and not which line of code asked for it. It judges nothing:
//! levels, leaks and alerts are the business of the layers above.
//!
//! A [`source::LinuxSource`] takes one [`Sample`] when asked; a [`sampler::Sampler`] asks it on time, on a thread of its
//! own, and hands the samples on. A [`source::LinuxMachine`] reads many targets together, each thing that they share once.
//! [`rss`] and [`peak`] are for programs that want one number. [`mappings`] tell, of two readings some minutes apart, where
//! the memory grew.
//!
//! ```
//! use memtrack::sampler::Sampler;
//! use memtrack::source::{LinuxSource, Target};
//! use memtrack::{Settings, TrackConfig};
//!
//! let source = LinuxSource::open(&Target::Own)?;
//! let mut sampler = Sampler::new(source, Settings::fixed(TrackConfig::default()));
//! let newest = sampler.newest();
//! sampler.start()?;
//!
//! newest.bell().recv()?;
//! let sample = newest.get().ok_or("the bell rings for a sample")?;
//! assert!(sample.process.rss? > 0);
//! assert!(sample.process.peak? >= sample.process.rss?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
pub mod mappings;
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
#[cfg(any(test, feature = "testing"))]
pub mod testing;
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
