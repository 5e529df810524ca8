//! Which objects a command is about, and how they are named at the destination.
//!
//! Owns: the flags of selection and renaming, each named like its field in a task. Invariant: `--include`, `--exclude` and their
//! regexes keep the order in which they were typed, since the first that matches decides.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueEnum};
use ferry_transfer::key_source::key_list::prefixes;
use ferry_transfer::key_source::{DocumentName, Documents, KeyList, KeyListFormat, KeySource};
use ferry_transfer::rewrite::{PrefixRule, Rewrite};
use ferry_transfer::select::{Glob, KeyRegex, Moment, Rule, Select};
use ferry_transfer::task::Location;
use ferry_transfer::{Size, StorageClass};

use crate::exit::UsageError;

const HEADING: &str = "Which objects";

/// Which objects a command is about, and how they are named at the destination.
#[derive(Debug, Clone, Default, Args)]
pub struct KeyArgs {
    /// List only under the prefixes in this file: one on each line, or NUL-separated, or JSON lines {"prefix"}; - is stdin
    #[arg(long, value_name = "FILE", group = "key source", help_heading = HEADING)]
    prefixes_from: Option<DocumentName>,
    /// Take the keys from this file and list nothing: one on each line, or NUL-separated, or JSON lines {"key", "size", "etag"};
    /// also NAME://BUCKET/KEY, - is stdin
    #[arg(long, value_name = "FILE", group = "key source", help_heading = HEADING)]
    keys_from: Option<DocumentName>,
    /// How the file of keys or prefixes is written; by default as it looks
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "auto", help_heading = HEADING)]
    keys_format: Format,
    /// Take the keys from an S3 Inventory: its manifest.json, a file or NAME://BUCKET/KEY
    #[arg(long, value_name = "MANIFEST", group = "key source", help_heading = HEADING)]
    inventory: Option<DocumentName>,
    /// The rules by key, in the order typed
    #[command(flatten)]
    rules: RuleArgs,
    /// Only objects of at least this size
    #[arg(long, value_name = "SIZE", help_heading = HEADING)]
    min_size: Option<Size>,
    /// Only objects of at most this size
    #[arg(long, value_name = "SIZE", help_heading = HEADING)]
    max_size: Option<Size>,
    /// Only objects written at this time or later: 30d, 12h, 2026-01-31
    #[arg(long, value_name = "TIME", help_heading = HEADING)]
    newer_than: Option<Moment>,
    /// Only objects written before this time
    #[arg(long, value_name = "TIME", help_heading = HEADING)]
    older_than: Option<Moment>,
    /// Only objects of this storage class (repeatable)
    #[arg(long, value_name = "CLASS", value_parser = class, help_heading = HEADING)]
    only_class: Vec<StorageClass>,
    /// No objects of this storage class (repeatable)
    #[arg(long, value_name = "CLASS", value_parser = class, help_heading = HEADING)]
    not_class: Vec<StorageClass>,
    /// Keys that begin with OLD begin with NEW at the destination; of several the longest OLD counts, an empty one is every key
    #[arg(long, value_name = "OLD=NEW", help_heading = "Naming")]
    rewrite_prefix: Vec<PrefixRule>,
}

/// How a file of keys is written.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    /// as it looks
    #[default]
    Auto,
    /// one on each line
    Lines,
    /// separated by NUL
    Nul,
    /// one JSON object on each line
    Json,
}

impl From<Format> for KeyListFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Auto => Self::Auto,
            Format::Lines => Self::Lines,
            Format::Nul => Self::Nul,
            Format::Json => Self::Json,
        }
    }
}

impl KeyArgs {
    /// The source of keys that the flags make. A list of prefixes is read now, one of keys when they are wanted.
    pub async fn source(
        &self,
        documents: &dyn Documents,
        source: &Location,
    ) -> Result<KeySource, UsageError> {
        let format = self.keys_format.into();
        if let Some(from) = &self.keys_from {
            return Ok(KeySource::List(KeyList { from: from.clone(), format }));
        }
        if let Some(manifest) = &self.inventory {
            return Ok(KeySource::Inventory(manifest.clone()));
        }
        let Some(from) = &self.prefixes_from else { return Ok(KeySource::Listing) };
        let wrong = |error: String| UsageError(format!("--prefixes-from {from}: {error}"));
        let document = documents.open(from).await.map_err(|error| wrong(error.chain()))?;
        let prefixes = prefixes(document, format).await.map_err(|error| wrong(error.chain()))?;
        if prefixes.is_empty() {
            return Err(wrong("there is no prefix in it".to_owned()));
        }
        let own = source.prefix.as_str();
        match prefixes.iter().find(|prefix| !prefix.starts_with(own) && !own.starts_with(prefix.as_str())) {
            Some(stray) => Err(wrong(format!("{stray:?} is not under {source}"))),
            None => Ok(KeySource::Prefixes(prefixes.into())),
        }
    }

    /// The selection that the flags make.
    pub fn select(&self) -> Select {
        Select {
            rules: self.rules.0.clone(),
            min_size: self.min_size,
            max_size: self.max_size,
            newer_than: self.newer_than.clone(),
            older_than: self.older_than.clone(),
            only_classes: self.only_class.clone(),
            not_classes: self.not_class.clone(),
        }
    }

    /// The renaming that the flags make.
    pub fn rewrite(&self) -> Result<Rewrite, UsageError> {
        Rewrite::new(self.rewrite_prefix.clone())
            .map_err(|error| UsageError(format!("--rewrite-prefix: {error}")))
    }
}

fn class(word: &str) -> Result<StorageClass, &'static str> {
    StorageClass::parse(word).ok_or("a storage class has a name")
}

/// Rules by key in the order typed. Clap's derive keeps the order of one flag only, so the four are put together by hand.
#[derive(Debug, Clone, Default)]
struct RuleArgs(Vec<Rule>);

impl Args for RuleArgs {
    fn augment_args(command: Command) -> Command {
        let rule = |name: &'static str, value: &'static str, help: &'static str| {
            Arg::new(name)
                .long(name)
                .value_name(value)
                .help(help)
                .action(ArgAction::Append)
                .help_heading(HEADING)
        };
        command
            .arg(
                rule("include", "GLOB", "Only keys that match, behind the source's prefix: *.jpg anywhere, a/** under a/; the first of all --include and --exclude that matches decides, the last one's contrary holds for the rest")
                    .value_parser(|text: &str| text.parse::<Glob>().map(Rule::Include)),
            )
            .arg(
                rule("exclude", "GLOB", "No keys that match")
                    .value_parser(|text: &str| text.parse::<Glob>().map(Rule::Exclude)),
            )
            .arg(
                rule("include-regex", "REGEX", "Only keys in which the regular expression is found")
                    .value_parser(|text: &str| text.parse::<KeyRegex>().map(Rule::IncludeRegex)),
            )
            .arg(
                rule("exclude-regex", "REGEX", "No keys in which the regular expression is found")
                    .value_parser(|text: &str| text.parse::<KeyRegex>().map(Rule::ExcludeRegex)),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RuleArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut placed: Vec<(usize, Rule)> = Vec::new();
        for name in ["include", "exclude", "include-regex", "exclude-regex"] {
            let places = matches.indices_of(name).into_iter().flatten();
            placed.extend(places.zip(matches.get_many::<Rule>(name).into_iter().flatten().cloned()));
        }
        placed.sort_by_key(|(place, _)| *place);
        Ok(Self(placed.into_iter().map(|(_, rule)| rule).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        keys: KeyArgs,
    }

    fn parse(words: &str) -> Result<KeyArgs, clap::Error> {
        Line::try_parse_from(std::iter::once("ferry").chain(words.split_whitespace())).map(|line| line.keys)
    }

    #[test]
    fn rules_keep_the_order_in_which_they_were_typed() {
        let keys = parse("--exclude *.tmp --include-regex ^a --include b/** --exclude c").expect("flags");
        let json = serde_json::to_string(&keys.select().rules).expect("json");
        assert_eq!(
            json,
            r#"[{"exclude":"*.tmp"},{"include_regex":"^a"},{"include":"b/**"},{"exclude":"c"}]"#
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (words, why) in [
            ("--include [a", "no ]"),
            ("--exclude-regex (", "unclosed"),
            ("--newer-than soon", "no point in time"),
            ("--min-size big", "no size"),
            ("--rewrite-prefix a", "OLD=NEW"),
        ] {
            let message = parse(words).expect_err(words).to_string();
            assert!(message.contains(why), "{message}");
        }
        let twice = parse("--rewrite-prefix a=b --rewrite-prefix a=c").expect("flags");
        assert!(twice.rewrite().expect_err("two ways").0.contains("\"a\""));
    }
}
