//! Problems of a configuration, each shown where it stands.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use memcfg::diagnostic::Label;
use memcfg::{Diagnostic, Severity};

/// One problem: its place and what is wrong on the first line, then the source with the value underlined, then what to do.
#[must_use]
pub fn render(diagnostic: &Diagnostic) -> String {
    let word = match diagnostic.severity {
        Severity::Error => "error",
        _ => "warning",
    };
    let place =
        diagnostic.labels.first().map_or(String::new(), |label| format!("{}: ", label.place()));
    let mut text = format!("{place}{word}[{}]: {}", diagnostic.code.name(), diagnostic.message);
    let snippets: Vec<_> = diagnostic
        .labels
        .iter()
        .enumerate()
        .filter_map(|(at, label)| snippet(label, at == 0))
        .collect();
    if !snippets.is_empty() {
        let group = Group::with_level(Level::ERROR).elements(snippets);
        text.push('\n');
        text.push_str(&Renderer::plain().render(&[group]).to_string());
    }
    // What has no place in a text, such as a default, can be told all the same.
    let unseen = diagnostic.labels.iter().skip(1).filter(|label| snippet(label, false).is_none());
    for label in unseen.filter(|label| !label.text.is_empty()) {
        text.push_str(&format!("\n  note: {} ({})", label.text, label.place()));
    }
    if let Some(help) = &diagnostic.help {
        text.push_str("\n  help: ");
        text.push_str(help);
    }
    text
}

/// The source around a label. None without a place in a text, such as a file that is missing.
fn snippet<'a>(
    label: &'a Label,
    primary: bool,
) -> Option<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let source = &label.origin.source;
    if !source.is_file() {
        // A flag or a variable is one value, which the message tells.
        return None;
    }
    let span = label.span.clone().filter(|span| source.text.get(span.clone()).is_some())?;
    let kind = if primary { AnnotationKind::Primary } else { AnnotationKind::Context };
    let mut annotation = kind.span(span);
    if !label.text.is_empty() {
        annotation = annotation.label(label.text.as_str());
    }
    Some(Snippet::source(source.text.as_str()).path(source.name.as_str()).annotation(annotation))
}
