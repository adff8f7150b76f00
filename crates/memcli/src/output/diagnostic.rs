//! Problems of a configuration, each shown where it stands.

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
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
    let snippets = snippets(&diagnostic.labels);
    if !snippets.is_empty() {
        let group = Group::with_level(Level::ERROR).elements(snippets);
        text.push('\n');
        text.push_str(&Renderer::plain().render(&[group]).to_string());
    }
    // What has no place in a text, such as a default, can be told all the same.
    let unseen =
        diagnostic.labels.iter().skip(1).filter(|label| annotation(label, false).is_none());
    for label in unseen.filter(|label| !label.text.is_empty()) {
        text.push_str(&format!("\n  note: {} ({})", label.text, label.place()));
    }
    if let Some(help) = &diagnostic.help {
        text.push_str("\n  help: ");
        text.push_str(help);
    }
    text
}

/// The source around the labels, that of one file together. The first line has named the place of the first label.
fn snippets(labels: &[Label]) -> Vec<Snippet<'_, Annotation<'_>>> {
    let mut files: Vec<(&str, Snippet<'_, Annotation<'_>>)> = Vec::new();
    for (at, label) in labels.iter().enumerate() {
        let Some(annotation) = annotation(label, at == 0) else { continue };
        let source = &label.origin.source;
        match files.iter().position(|(name, _)| *name == source.name.as_str()) {
            Some(known) => {
                let (name, snippet) = files.swap_remove(known);
                files.push((name, snippet.annotation(annotation)));
            }
            None => {
                let snippet = Snippet::source(source.text.as_str()).annotation(annotation);
                let named = at > 0;
                let snippet = if named { snippet.path(source.name.as_str()) } else { snippet };
                files.push((source.name.as_str(), snippet));
            }
        }
    }
    // Two labels of one file may lie around one of another.
    files
        .sort_by_key(|(name, _)| labels.iter().position(|label| label.origin.source.name == *name));
    files.into_iter().map(|(_, snippet)| snippet).collect()
}

/// What a label marks. None without a place in a text, such as a file that is missing.
fn annotation(label: &Label, primary: bool) -> Option<Annotation<'_>> {
    let source = &label.origin.source;
    if !source.is_file() {
        // A flag or a variable is one value, which the message tells.
        return None;
    }
    let span = label.span.clone().filter(|span| source.text.get(span.clone()).is_some())?;
    let kind = if primary { AnnotationKind::Primary } else { AnnotationKind::Context };
    let annotation = kind.span(span);
    let named = !label.text.is_empty();
    Some(if named { annotation.label(label.text.as_str()) } else { annotation })
}
