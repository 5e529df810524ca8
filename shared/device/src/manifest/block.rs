//! One block of options, taken out option by option.
//!
//! Owns: what every option has in common: unfilled placeholders, blanks, wrong shapes, and names nobody knows. Does not own: what a value
//! means. Invariant: whatever is wrong is noted and reading goes on, so that all problems are told at once.

use std::cell::RefCell;

use super::node::{Name, Node, Style, Value};
use super::problem::{Code, Place, Problem, Severity};

/// Where problems are collected.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(super) fn error(
        &self,
        code: Code,
        option: &str,
        place: Place,
        message: impl Into<String>,
        action: &str,
    ) {
        self.note(Severity::Error, code, option, place, message.into(), action);
    }

    pub(super) fn warn(&self, option: &str, place: Place, message: impl Into<String>, action: &str) {
        self.note(Severity::Warning, Code::InvalidManifestField, option, place, message.into(), action);
    }

    fn note(
        &self,
        severity: Severity,
        code: Code,
        option: &str,
        place: Place,
        message: String,
        action: &str,
    ) {
        let (option, action) = (option.to_owned(), action.to_owned());
        self.0.borrow_mut().push(Problem { severity, code, option, place, message, action });
    }

    pub(super) fn add(&self, problems: Vec<Problem>) {
        self.0.borrow_mut().extend(problems);
    }

    /// All of them, in the order of the text.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut problems = self.0.into_inner();
        problems.sort_by_key(|problem| problem.place);
        problems
    }
}

/// A text and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) value: String,
    pub(super) option: String,
    pub(super) place: Place,
    pub(super) style: Style,
    pub(super) last_line: u32,
}

enum Field {
    Absent,
    /// There, and already complained of.
    Refused,
    Text(Text),
}

/// A block that is being read.
#[derive(Debug)]
pub(super) struct Block<'a> {
    path: String,
    pub(super) place: Place,
    options: Vec<(Name, Node)>,
    pub(super) problems: &'a Problems,
}

impl<'a> Block<'a> {
    /// A block under a path; `None`, and a complaint, where the node is none.
    pub(super) fn new(path: String, node: Node, problems: &'a Problems) -> Option<Self> {
        match node.value {
            Value::Options(options) => Some(Self { path, place: node.place, options, problems }),
            Value::Text { text, .. } if text.is_empty() => None,
            _ => {
                let action = "Write its options below it, indented, each as NAME: VALUE";
                problems.error(
                    Code::MalformedManifest,
                    &path,
                    node.place,
                    "a block of options must stand here",
                    action,
                );
                None
            }
        }
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn take(&mut self, name: &str) -> Option<(Name, Node)> {
        let at = self.options.iter().position(|(option, _)| option.text == name)?;
        Some(self.options.remove(at))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(option, _)| option.text == name)
    }

    fn field(&mut self, name: &str) -> Field {
        let Some((found, node)) = self.take(name) else { return Field::Absent };
        let option = self.path_of(name);
        match as_text(node, option) {
            Ok(text) if text.value.is_empty() => Field::Absent,
            Ok(text) if text.style == Style::Placeholder => {
                self.problems.error(
                    Code::InvalidManifestField,
                    &text.option,
                    text.place,
                    "the placeholder of the template was never filled in",
                    "Replace it, brackets included, by the value; remove the option if it is not required",
                );
                Field::Refused
            }
            Ok(text) => Field::Text(text),
            Err(option) => {
                self.problems.error(
                    Code::InvalidManifestField,
                    &option,
                    found.place,
                    "one value must stand here, not several",
                    "Write it on the option's line, in double quotes if it holds brackets or braces",
                );
                Field::Refused
            }
        }
    }

    /// An option that may be left out.
    pub(super) fn optional(&mut self, name: &str) -> Option<Text> {
        match self.field(name) {
            Field::Text(text) => Some(text),
            Field::Absent | Field::Refused => None,
        }
    }

    /// An option that must be there.
    pub(super) fn required(&mut self, name: &str, action: &str) -> Option<Text> {
        match self.field(name) {
            Field::Text(text) => Some(text),
            Field::Refused => None,
            Field::Absent => {
                let path = self.path_of(name);
                let message = "the option is required and is not here";
                self.problems.error(Code::MissingManifestField, &path, self.place, message, action);
                None
            }
        }
    }

    /// Several texts: a list, or one text.
    pub(super) fn texts(&mut self, name: &str) -> Vec<Text> {
        let path = self.path_of(name);
        let Some((_, node)) = self.take(name) else { return Vec::new() };
        let nodes = match node.value {
            Value::List(items) => items,
            _ => vec![node],
        };
        let mut texts = Vec::new();
        for (index, node) in nodes.into_iter().enumerate() {
            let place = node.place;
            match as_text(node, format!("{path}[{index}]")) {
                Ok(text) => texts.push(text),
                Err(option) => {
                    let message = "a list of texts must stand here";
                    self.problems.error(
                        Code::InvalidManifestField,
                        &option,
                        place,
                        message,
                        "Write one text on each line",
                    );
                }
            }
        }
        texts
    }

    /// A block inside this one.
    pub(super) fn block(&mut self, name: &str) -> Option<Block<'a>> {
        let (_, node) = self.take(name)?;
        Block::new(self.path_of(name), node, self.problems)
    }

    /// A list of blocks inside this one, with the place of the list.
    pub(super) fn blocks(&mut self, name: &str) -> Option<(Vec<Block<'a>>, Place)> {
        let (found, node) = self.take(name)?;
        let path = self.path_of(name);
        let items = match node.value {
            Value::List(items) => items,
            // One item that lost its dash.
            Value::Options(_) => vec![node],
            Value::Text { .. } => Vec::new(),
        };
        let blocks = items
            .into_iter()
            .enumerate()
            .filter_map(|(index, item)| Block::new(format!("{path}[{index}]"), item, self.problems))
            .collect();
        Some((blocks, found.place))
    }

    /// Pairs of texts: a block, or a list of blocks.
    pub(super) fn pairs(&mut self, name: &str) -> Vec<(String, Text)> {
        let is_text = |node: &Node| matches!(&node.value, Value::Text { text, .. } if !text.is_empty());
        if let Some((found, _)) =
            self.options.iter().find(|(found, node)| found.text == name && is_text(node))
        {
            let (message, action) =
                ("pairs of texts must stand here", "Write each below it, indented, as FROM: TO");
            self.problems.error(Code::InvalidManifestField, name, found.place, message, action);
        }
        let Some((blocks, _)) = self.blocks(name) else { return Vec::new() };
        let mut pairs = Vec::new();
        for mut block in blocks {
            let names: Vec<String> = block.options.iter().map(|(name, _)| name.text.clone()).collect();
            for name in names {
                if let Some((_, node)) = block.take(&name) {
                    let (place, option) = (node.place, block.path_of(&name));
                    match as_text(node, option) {
                        Ok(text) => pairs.push((name, text)),
                        Err(option) => {
                            let message = "a replacement is one text";
                            self.problems.error(
                                Code::InvalidManifestField,
                                &option,
                                place,
                                message,
                                "Write FROM: TO",
                            );
                        }
                    }
                }
            }
        }
        pairs
    }

    /// Complains of whatever nobody has taken.
    pub(super) fn finish(self) {
        for (name, _) in &self.options {
            let path = self.path_of(&name.text);
            if name.text.starts_with("x-") {
                let message = "there is no such extension";
                self.problems.error(
                    Code::InvalidManifestField,
                    &path,
                    name.place,
                    message,
                    "Check its spelling",
                );
            } else {
                let message = "the option is unknown and was ignored";
                self.problems.warn(&path, name.place, message, "Check its spelling, or remove it");
            }
        }
    }
}

/// The node's text; the option's path back where it has none.
fn as_text(node: Node, option: String) -> Result<Text, String> {
    match node.value {
        Value::Text { text, style } => {
            Ok(Text { value: text, option, place: node.place, style, last_line: node.last_line })
        }
        _ => Err(option),
    }
}
