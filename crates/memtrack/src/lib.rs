//! Exact, cheap, honest memory sampling.
pub mod config;
pub mod error;
pub mod processes;
pub mod reading;
pub mod sample;
pub mod sampler;
pub mod settings;
pub mod source;
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
