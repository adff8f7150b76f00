//! doctor
use crate::cli::DoctorArgs;
use crate::exit::Failure;
/// x
/// # Errors
/// x
pub fn doctor(_a: &DoctorArgs) -> Result<u8, Failure> {
    Ok(0)
}
