//! The sections, put together.

use std::sync::Arc;
use std::time::Duration;

use memleak::LeakConfig;
use mempressure::{BudgetConfig, PressureConfig, ProjectConfig, WorkloadConfig};
use memtrack::TrackConfig;

/// Default of [`AlertsConfig::exec_timeout`].
pub const DEFAULT_EXEC_TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest [`AlertsConfig::exec_timeout`].
pub const MIN_EXEC_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest [`AlertsConfig::exec_timeout`].
pub const MAX_EXEC_TIMEOUT: Duration = Duration::from_secs(300);

/// The whole document, one part for each section.
///
/// The parts are shared, so that a worker reads its own without copying it.
#[derive(
    Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, garde::Validate,
)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[budget]`: the process's own budget.
    #[garde(dive)]
    pub budget: Arc<BudgetConfig>,
    /// `[project]`: what one project is expected to need.
    #[garde(dive)]
    pub project: Arc<ProjectConfig>,
    /// `[workload]`: ceilings that pressure scales down.
    #[garde(dive)]
    pub workload: Arc<WorkloadConfig>,
    /// `[track]`: how closely to look.
    #[garde(dive)]
    pub track: Arc<TrackConfig>,
    /// `[pressure]`: when memory counts as tight, and what is done about it.
    #[garde(dive)]
    pub pressure: Arc<PressureConfig>,
    /// `[leak]`: what counts as growth without end.
    #[garde(dive)]
    pub leak: Arc<LeakConfig>,
    /// `[alerts]`: whom to tell.
    #[garde(dive)]
    pub alerts: Arc<AlertsConfig>,
    /// `[serve]`: reserved.
    #[garde(dive)]
    pub serve: Arc<ServeConfig>,
}

/// Whom to tell about an alert. Of global scope: a project may not have programs run.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, garde::Validate)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// A program to run for each alert, and its arguments; none when empty.
    #[garde(skip)]
    pub exec: Vec<String>,
    /// How long that program may take; 1 s to 5 min.
    #[serde(with = "memtrack::units::duration")]
    #[garde(custom(timeout_in_range))]
    pub exec_timeout: Duration,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self { exec: Vec::new(), exec_timeout: DEFAULT_EXEC_TIMEOUT }
    }
}

fn timeout_in_range(value: &Duration, (): &()) -> garde::Result {
    if (MIN_EXEC_TIMEOUT..=MAX_EXEC_TIMEOUT).contains(value) {
        return Ok(());
    }
    Err(garde::Error::new("must be between 1s and 5m"))
}

/// Reserved for the server to come. Of global scope.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, garde::Validate,
)]
#[serde(deny_unknown_fields, default)]
pub struct ServeConfig {}
