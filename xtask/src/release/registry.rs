//! What the public registry asks of a package's metadata, known before it is asked.

use crate::workspace::{Member, Workspace};

/// The slugs that we use, out of the registry's list of categories. It ignores one that it does not know, so a typo would go unnoticed.
const CATEGORIES: [&str; 6] = [
    "command-line-utilities",
    "config",
    "development-tools::profiling",
    "mathematics",
    "memory-management",
    "os::linux-apis",
];

/// Everything it would refuse or ignore.
pub(crate) fn problems(workspace: &Workspace) -> Vec<String> {
    workspace.members.iter().filter(|member| member.published).flat_map(member_problems).collect()
}

fn member_problems(member: &Member) -> Vec<String> {
    let mut problems = Vec::new();
    let name = &member.name;
    if member.description.is_empty() || member.description == "TODO" {
        problems.push(format!("`{name}` has no description"));
    }
    if member.categories.len() > 5 || member.keywords.len() > 5 {
        problems.push(format!("`{name}` has more than 5 categories or keywords"));
    }
    for category in
        member.categories.iter().filter(|category| !CATEGORIES.contains(&category.as_str()))
    {
        problems.push(format!("`{name}`: `{category}` is not among the known categories"));
    }
    let good = |keyword: &&String| {
        keyword.len() <= 20
            && keyword.starts_with(|first: char| first.is_ascii_alphabetic())
            && keyword.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    for keyword in member.keywords.iter().filter(|keyword| !good(keyword)) {
        problems.push(format!("`{name}`: `{keyword}` is not a keyword the registry takes"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_metadata_is_named() {
        let member = Member {
            name: "x".to_owned(),
            description: "TODO".to_owned(),
            published: true,
            categories: vec!["memory".to_owned()],
            keywords: vec!["two words".to_owned(), "rss".to_owned()],
            folder: String::new(),
            dependencies: Vec::new(),
            examples: Vec::new(),
        };
        assert_eq!(member_problems(&member).len(), 3, "{:?}", member_problems(&member));
    }
}
