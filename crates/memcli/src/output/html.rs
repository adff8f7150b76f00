//! stub
use crate::recording::Recording;
use crate::report::Run;
/// The page.
#[must_use]
pub fn page(_: &[(&Run, &Recording)]) -> String {
    String::new()
}
