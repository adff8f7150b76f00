//! What a guard cannot decide by, refused at its door.
//!
//! Whoever reads a document checks every range and every rule between fields, and says where it was written. A program that
//! fills in the settings itself has only this.

use std::io;

use crate::config::{BudgetConfig, BudgetTotal, GuardConfig, PressureConfig};

/// Settings that no level can be decided by.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A share that is not a number, or not one from 0 to 1.
    #[error("`{key}` is {value}: expected a number from 0 to 1")]
    Share {
        /// The field, as in the document.
        key: &'static str,
        /// What it is.
        value: f64,
    },
    /// Two thresholds in the wrong order.
    #[error("`{lower}` ({low}) must be below `{upper}` ({high})")]
    Order {
        /// The field that must be lower.
        lower: &'static str,
        /// What it is.
        low: f64,
        /// The field that must be higher.
        upper: &'static str,
        /// What it is.
        high: f64,
    },
}

impl From<SettingsError> for io::Error {
    fn from(error: SettingsError) -> Self {
        io::Error::new(io::ErrorKind::InvalidInput, error)
    }
}

impl GuardConfig {
    /// Whether a guard can decide by these settings: shares are numbers from 0 to 1 and thresholds rise.
    ///
    /// # Errors
    /// The first field for which that is not so.
    ///
    /// ```
    /// use mempressure::GuardConfig;
    ///
    /// let mut config = GuardConfig::default();
    /// assert!(config.check().is_ok());
    /// config.pressure.thresholds.warning = f64::NAN;
    /// let refused = config.check().unwrap_err().to_string();
    /// assert_eq!(refused, "`pressure.thresholds.warning` is NaN: expected a number from 0 to 1");
    /// ```
    pub fn check(&self) -> Result<(), SettingsError> {
        let PressureConfig { band, thresholds, targets, .. } = &self.pressure;
        let BudgetConfig { total, warning, prompt, emergency, .. } = &self.budget;
        let percent = match total {
            BudgetTotal::Percent(percent) => percent / 100.0,
            BudgetTotal::Size(_) => 1.0,
        };
        shares(&[("pressure.band", *band), ("budget.total", percent)])?;
        shares(&[
            ("pressure.targets.warning", targets.warning),
            ("pressure.targets.critical", targets.critical),
            ("pressure.targets.emergency", targets.emergency),
        ])?;
        rising(&[
            ("pressure.thresholds.warning", thresholds.warning),
            ("pressure.thresholds.critical", thresholds.critical),
            ("pressure.thresholds.emergency", thresholds.emergency),
        ])?;
        rising(&[
            ("budget.warning", *warning),
            ("budget.prompt", *prompt),
            ("budget.emergency", *emergency),
        ])
    }
}

type Field = (&'static str, f64);

fn shares(fields: &[Field]) -> Result<(), SettingsError> {
    // NaN lies in no range.
    let bad = fields.iter().find(|(_, value)| !(0.0..=1.0).contains(value));
    bad.map_or(Ok(()), |(key, value)| Err(SettingsError::Share { key, value: *value }))
}

fn rising(fields: &[Field]) -> Result<(), SettingsError> {
    shares(fields)?;
    for pair in fields.windows(2) {
        if let [(lower, low), (upper, high)] = pair
            && low >= high
        {
            return Err(SettingsError::Order { lower, low: *low, upper, high: *high });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_in_the_wrong_order_are_named() {
        let mut config = GuardConfig::default();
        config.budget.prompt = config.budget.emergency;
        assert_eq!(
            config.check().unwrap_err().to_string(),
            "`budget.prompt` (0.98) must be below `budget.emergency` (0.98)"
        );
        config.budget = BudgetConfig::default();
        for bad in [f64::NAN, f64::INFINITY, -0.1, 1.1] {
            config.pressure.band = bad;
            assert!(matches!(config.check(), Err(SettingsError::Share { .. })), "{bad}");
        }
    }
}
