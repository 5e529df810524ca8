//! The rules of now.
//!
//! Owns: what the function was told of its rules, and when to look whether the task they come from has changed. Does not own: the task's text,
//! which stands in a parameter. Invariants: as long as the parameter cannot be read, the rules stay what they were; a task that is gone
//! or is none refuses notifications until it is one again, so that their senders keep them.

use std::sync::Arc;
use std::time::Duration;

use ferry_cloud::lambda::task_at;
use ferry_cloud::parameters::SharedParameters;
use ferry_transfer::task::{self, Task};
use ferry_transfer::{ErrorKind, Result};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::rules::{Deletes, Rules};

/// How long a task is believed, as workers do.
const BELIEVED: Duration = Duration::from_mins(1);

/// What is said of the rules beside the task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The task's name on jobs; default: its own.
    pub(crate) task: Option<String>,
    /// Default: the task's source.
    pub(crate) bucket: Option<String>,
    /// None is the task's source prefix.
    pub(crate) prefixes: Vec<String>,
    pub(crate) suffixes: Vec<String>,
    /// Default: what the task says, else they are left.
    pub(crate) deletes: Option<Deletes>,
}

impl Told {
    /// The rules with a task, or without one.
    pub(crate) fn rules(&self, task: Option<&Task>) -> Rules {
        let of_task = |task: &Task| match task.deletes {
            task::Deletes::Keep => Deletes::Leave,
            task::Deletes::Mirror(_) => Deletes::Send,
        };
        let prefixes = if self.prefixes.is_empty() {
            let prefix = task.map(|task| task.source.prefix.clone());
            prefix.filter(|prefix| !prefix.is_empty()).into_iter().collect()
        } else {
            self.prefixes.clone()
        };
        Rules {
            task: self.task.clone().or_else(|| task.map(|task| task.name.clone())),
            bucket: self.bucket.clone().or_else(|| task.map(|task| task.source.bucket.clone())),
            prefixes,
            suffixes: self.suffixes.clone(),
            deletes: self.deletes.or_else(|| task.map(of_task)).unwrap_or_default(),
        }
    }
}

/// Which events become jobs, today. See the module.
#[derive(Debug, Clone)]
pub struct RuleBook(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    Fixed(Rules),
    OfTask { told: Told, place: String, parameters: SharedParameters, known: Mutex<Known> },
}

#[derive(Debug)]
struct Known {
    rules: Rules,
    looked: Option<Instant>,
}

/// These, for good.
impl From<Rules> for RuleBook {
    fn from(rules: Rules) -> Self {
        Self(Arc::new(Kind::Fixed(rules)))
    }
}

impl RuleBook {
    /// What the parameter at `path` of that name makes of what was told.
    pub(crate) async fn of_task(
        told: Told,
        path: &str,
        name: &str,
        parameters: SharedParameters,
    ) -> Result<Self> {
        let place = format!("{}/{name}", path.trim_end_matches('/'));
        let rules = told.rules(Some(&task_at(&*parameters, &place, name, ErrorKind::Configuration).await?));
        let known = Mutex::new(Known { rules, looked: Some(Instant::now()) });
        Ok(Self(Arc::new(Kind::OfTask { told, place, parameters, known })))
    }

    /// The rules of this moment. Asks for the task when it was last read more than a minute ago.
    pub async fn now(&self) -> Result<Rules> {
        let (told, place, parameters, known) = match self.0.as_ref() {
            Kind::Fixed(rules) => return Ok(rules.clone()),
            Kind::OfTask { told, place, parameters, known } => (told, place, parameters, known),
        };
        let name = place.rsplit('/').next().unwrap_or_default();
        let mut known = known.lock().await;
        if known.looked.is_some_and(|looked| looked.elapsed() < BELIEVED) {
            return Ok(known.rules.clone());
        }
        match task_at(&**parameters, place, name, ErrorKind::Configuration).await {
            Ok(task) => {
                let rules = told.rules(Some(&task));
                if rules != known.rules {
                    tracing::info!(task = task.name, "the task has changed");
                }
                known.rules = rules;
            }
            Err(error) if !error.is_permanent() => {
                tracing::warn!(place, error = %error.chain(), "going on with the task as it was read before");
            }
            Err(error) => {
                known.looked = None;
                return Err(error);
            }
        }
        known.looked = Some(Instant::now());
        Ok(known.rules.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use ferry_cloud::parameters::{Parameter, Parameters, Secrecy};

    use ferry_cloud::lambda;
    use ferry_transfer::Error;

    use super::*;

    /// One parameter, which can be changed, taken away and out of reach.
    #[derive(Debug)]
    struct One(Mutex<Result<Option<String>, ()>>);

    impl One {
        fn says(&self, prefix: &str) {
            let text = format!(
                r#"{{"name":"photos","source":{{"store":"a","bucket":"from","prefix":"{prefix}"}},"destination":{{"store":"b","bucket":"to"}}}}"#
            );
            *self.0.lock().expect("lock") = Ok(Some(text));
        }
    }

    #[async_trait]
    impl Parameters for One {
        async fn get(&self, name: &str) -> Result<Option<String>> {
            let value = self.0.lock().expect("lock").clone();
            let value = value.map_err(|()| Error::new(ErrorKind::Transient, "no answer"))?;
            Ok(value.filter(|_| name == "/ferry/tasks/photos"))
        }
        async fn put(&self, _: &str, _: &str, _: Secrecy) -> Result<u64> {
            Ok(1)
        }
        async fn put_if_absent(&self, _: &str, _: &str, _: Secrecy) -> Result<bool> {
            Ok(true)
        }
        async fn remove(&self, _: &str) -> Result<bool> {
            Ok(false)
        }
        async fn list(&self, _: &str) -> Result<Vec<Parameter>> {
            Ok(Vec::new())
        }
    }

    async fn book() -> (Arc<One>, RuleBook) {
        let one = Arc::new(One(Mutex::new(Ok(None))));
        one.says("x/");
        let parameters = Arc::clone(&one) as SharedParameters;
        let book = RuleBook::of_task(Told::default(), "/ferry/tasks/", "photos", parameters).await;
        (one, book.expect("rules"))
    }

    async fn prefix(book: &RuleBook) -> String {
        book.now().await.expect("rules").prefixes.concat()
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_has_changed_is_seen_within_a_minute() {
        let (one, book) = book().await;
        let rules = book.now().await.expect("rules");
        assert_eq!((rules.task.as_deref(), rules.bucket.as_deref()), (Some("photos"), Some("from")));
        one.says("y/");
        assert_eq!(prefix(&book).await, "x/");
        tokio::time::advance(BELIEVED).await;
        assert_eq!(prefix(&book).await, "y/");
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_changes_nothing_and_a_task_that_is_gone_refuses() {
        let (one, book) = book().await;
        *one.0.lock().expect("lock") = Err(());
        tokio::time::advance(BELIEVED).await;
        assert_eq!(prefix(&book).await, "x/");
        *one.0.lock().expect("lock") = Ok(None);
        assert_eq!(prefix(&book).await, "x/", "looked within the minute");
        tokio::time::advance(BELIEVED).await;
        let gone = book.now().await.expect_err("gone").to_string();
        assert!(gone.contains("/ferry/tasks/photos"), "{gone}");
        *one.0.lock().expect("lock") = Ok(Some(r#"{"name":"films"}"#.to_owned()));
        assert!(book.now().await.is_err(), "and what is none");
        one.says("z/");
        assert_eq!(prefix(&book).await, "z/", "as soon as there is one again");
    }

    #[test]
    fn what_is_told_goes_before_what_the_task_says() {
        let task: Task = lambda::parse(
            "task",
            r#"{"name":"t","source":{"store":"a","bucket":"b","prefix":"p/"},"destination":{"store":"c","bucket":"d"},"deletes":{"mirror":1}}"#,
        )
        .expect("a task");
        let rules = Told::default().rules(Some(&task));
        assert_eq!((rules.task.as_deref(), rules.deletes), (Some("t"), Deletes::Send));
        let told = Told {
            task: Some("other".into()),
            bucket: Some("e".into()),
            prefixes: vec!["q/".into()],
            suffixes: vec![".z".into()],
            deletes: Some(Deletes::Leave),
        };
        let rules = told.rules(Some(&task));
        assert_eq!((rules.task.as_deref(), rules.bucket.as_deref()), (Some("other"), Some("e")));
        assert_eq!((rules.prefixes, rules.deletes), (vec!["q/".to_owned()], Deletes::Leave));
        assert_eq!(Told::default().rules(None), Rules::default());
    }
}
