//! A manifest as a tree of texts, each with its place.
//!
//! Owns: reading YAML without its types: every scalar stays the text it was, so `country: NO` is Norway and `deviceId: 0049382` keeps its
//! noughts. Does not own: what options mean. Invariants: memory is that of the text (aliases are refused); nesting is bounded.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::lenient::Repaired;
use super::problem::{Code, Place, Problem, Severity};

/// Deepest nesting: a manifest needs four.
const DEPTH_MAX: usize = 16;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
    /// The line the value ends on.
    pub(super) last_line: u32,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Text {
        text: String,
        style: Style,
    },
    List(Vec<Node>),
    /// In the order of the text. A name that comes twice is here once, and reported.
    Options(Vec<(Name, Node)>),
}

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// As it is.
    Plain,
    /// In quotes.
    Quoted,
    /// As a block of lines, behind `|` or `>`.
    Block,
    /// In a template's brackets.
    Placeholder,
}

/// An option's name and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) place: Place,
}

/// Reads the text into a tree; what was wrong with it goes to `problems`. `None` where nothing could be read.
pub(super) fn read(repaired: &Repaired, problems: &mut Vec<Problem>) -> Option<Node> {
    let mut reader = Reader { parser: Parser::new_from_str(&repaired.text), repaired, problems };
    let root = reader.document();
    match root {
        Ok(root) => root,
        Err(problem) => {
            problems.push(*problem);
            None
        }
    }
}

struct Reader<'a, P> {
    parser: P,
    repaired: &'a Repaired,
    problems: &'a mut Vec<Problem>,
}

type Read<T> = Result<T, Box<Problem>>;

impl<'a, P> Reader<'a, P>
where
    P: Iterator<Item = Result<(Event<'a>, Span), granit_parser::ScanError>>,
{
    fn next(&mut self) -> Read<(Event<'a>, Span)> {
        // Comments are events where any crate of a build asks for them.
        match self.parser.by_ref().find(|event| !matches!(event, Ok((Event::Comment(..), _)))) {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let place = self.repaired.place(error.marker().line(), error.marker().col());
                let action = "Put the value in double quotes if it holds any of : # [ ] { } & * ! | > ' \" % @ `, and indent with \
                              blanks only";
                Err(malformed(
                    place,
                    format!("this is not as a manifest is written ({})", error.info()),
                    action,
                ))
            }
            None => Err(malformed(Place::START, "the manifest ends early".to_owned(), "Send all of it")),
        }
    }

    fn document(&mut self) -> Read<Option<Node>> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_none() => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, span, 0)?);
                }
                _ => {
                    let place = self.place(&span);
                    return Err(malformed(
                        place,
                        "a second manifest begins here".to_owned(),
                        "Write one job into one manifest",
                    ));
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Read<Node> {
        let place = self.place(&span);
        if depth > DEPTH_MAX {
            return Err(malformed(place, "options are nested too deeply".to_owned(), "Write it flat"));
        }
        let taken_for = if event.tag().is_some() {
            Some("the ! in front of this value for a type")
        } else if anchor(&event) > 0 {
            Some("the & in front of this value for a name")
        } else {
            None
        };
        let (value, last_line) = match event {
            Event::Scalar(text, style, ..) => {
                let style = match style {
                    _ if self.repaired.is_placeholder(span.start.line()) && text.starts_with('[') => {
                        Style::Placeholder
                    }
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                    _ => Style::Quoted,
                };
                // What stands for nothing in YAML is told as a text that nobody wrote.
                let is_absent = style == Style::Plain && span.start.index() == span.end.index();
                let text = if is_absent { String::new() } else { text.into_owned() };
                (Value::Text { text, style }, self.last_line(&span))
            }
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.options(depth)?,
            _ => {
                return Err(malformed(
                    place,
                    "YAML takes this for a reference (*)".to_owned(),
                    "Put the value in double quotes",
                ));
            }
        };
        if let Some(taken_for) = taken_for {
            self.problems.push(Problem {
                severity: Severity::Error,
                code: Code::MalformedManifest,
                option: String::new(),
                place,
                message: format!("YAML takes {taken_for}, not for a part of it"),
                action: "Put the value in double quotes".to_owned(),
            });
        }
        Ok(Node { value, place, last_line })
    }

    fn list(&mut self, depth: usize) -> Read<(Value, u32)> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok((Value::List(items), self.last_line(&span)));
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn options(&mut self, depth: usize) -> Read<(Value, u32)> {
        let mut options: Vec<(Name, Node)> = Vec::new();
        let mut places: HashMap<String, Place> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok((Value::Options(options), self.last_line(&span)));
            }
            let name = self.node(event, span, depth + 1)?;
            let Value::Text { text, .. } = name.value else {
                return Err(malformed(
                    name.place,
                    "this is no option's name".to_owned(),
                    "Write NAME: VALUE",
                ));
            };
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            let name = Name { text, place: name.place };
            if let Some(first) = places.get(&name.text) {
                self.problems.push(Problem {
                    severity: Severity::Error,
                    code: Code::MalformedManifest,
                    option: name.text.clone(),
                    place: name.place,
                    message: format!("the option is here a second time, after {first}"),
                    action: "Remove one of the two".to_owned(),
                });
            } else {
                places.insert(name.text.clone(), name.place);
                options.push((name, value));
            }
        }
    }

    fn place(&self, span: &Span) -> Place {
        self.repaired.place(span.start.line(), span.start.col())
    }

    fn last_line(&self, span: &Span) -> u32 {
        self.repaired.place(span.end.line(), 0).line
    }
}

/// The number of the name that YAML gives a value for later references; none is zero.
fn anchor(event: &Event<'_>) -> usize {
    match event {
        Event::Scalar(_, _, anchor, _)
        | Event::SequenceStart(_, anchor, _)
        | Event::MappingStart(_, anchor, _) => *anchor,
        _ => 0,
    }
}

#[expect(clippy::unnecessary_box_returns, reason = "what fails is boxed all through")]
fn malformed(place: Place, message: String, action: &str) -> Box<Problem> {
    Box::new(Problem {
        severity: Severity::Error,
        code: Code::MalformedManifest,
        option: String::new(),
        place,
        message,
        action: action.to_owned(),
    })
}
