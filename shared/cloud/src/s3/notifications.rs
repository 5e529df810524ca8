//! A bucket's notifications to a queue.
//!
//! Owns: merging one more into what the bucket has, and the check that nothing was lost on the way. The API knows no way to add one: it
//! reads all and replaces all (AWS, `PutBucketNotificationConfiguration`). Invariants: whatever the bucket had it still has; a subscription
//! that is there already changes nothing; one that S3 would refuse, since another gets the same events of the same keys, is refused
//! by name before anything is written.

use aws_sdk_s3::types::{
    Event, FilterRule, FilterRuleName, NotificationConfiguration, NotificationConfigurationFilter,
    QueueConfiguration, S3KeyFilter,
};
use ferry_transfer::{Error, ErrorKind, Result};

use super::{ANSWER_TIMEOUT, S3Account, answered};

/// What a queue is to be told of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The queue.
    pub queue_arn: String,
    /// Only keys that begin so.
    pub prefix: String,
    /// Whether of deletes too.
    pub deletes: SubscribedDeletes,
}

/// Whether a queue is told of deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscribedDeletes {
    /// No.
    Left,
    /// Of those by requests and those by lifecycle rules.
    Told,
}

/// Whether a subscription is made or only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rehearsal {
    /// Nothing is written.
    DryRun,
    /// It is made.
    Real,
}

/// What a subscription comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscribed {
    /// The queue is told of all of it already.
    Already,
    /// It is one more.
    Added {
        /// Its name among the bucket's.
        id: String,
        /// What it tells of.
        events: Vec<String>,
        /// Notifications that the bucket had, and has.
        kept: usize,
    },
}

impl Subscription {
    /// `ObjectCreated:*` of Amazon S3 has no parts in it.
    fn events(&self) -> Vec<Event> {
        let mut events = vec!["s3:ObjectCreated:*", "s3:ObjectRestore:Completed"];
        if self.deletes == SubscribedDeletes::Told {
            events.extend(["s3:ObjectRemoved:*", "s3:LifecycleExpiration:*"]);
        }
        events.into_iter().map(Event::from).collect()
    }
}

impl S3Account {
    /// Has a bucket tell a queue of its changes, beside everything it tells already.
    pub async fn subscribe(
        &self,
        bucket: &str,
        subscription: &Subscription,
        rehearsal: Rehearsal,
    ) -> Result<Subscribed> {
        let before = self.notifications(bucket).await?;
        let (after, subscribed) =
            match merge(&before, subscription).map_err(|error| error.in_bucket(bucket))? {
                Merged::Already => return Ok(Subscribed::Already),
                Merged::Changed(after, subscribed) => (after, subscribed),
            };
        if rehearsal == Rehearsal::DryRun {
            return Ok(subscribed);
        }
        let in_bucket = self.bucket(bucket);
        let place = in_bucket.place("PutBucketNotificationConfiguration", None);
        let put = self.0.client.put_bucket_notification_configuration().bucket(bucket);
        answered(&place, ANSWER_TIMEOUT, put.notification_configuration(after.clone()).send()).await?;
        let now = self.notifications(bucket).await?;
        if ids(&after).iter().all(|id| ids(&now).contains(id)) {
            return Ok(subscribed);
        }
        let message =
            "somebody else changed the bucket's notifications at that moment: look at them, and try again";
        Err(place.error(ErrorKind::Transient, message))
    }

    async fn notifications(&self, bucket: &str) -> Result<NotificationConfiguration> {
        let in_bucket = self.bucket(bucket);
        let place = in_bucket.place("GetBucketNotificationConfiguration", None);
        let get = self.0.client.get_bucket_notification_configuration().bucket(bucket);
        let answer = answered(&place, ANSWER_TIMEOUT, get.send()).await?;
        Ok(NotificationConfiguration::builder()
            .set_topic_configurations(answer.topic_configurations)
            .set_queue_configurations(answer.queue_configurations)
            .set_lambda_function_configurations(answer.lambda_function_configurations)
            .set_event_bridge_configuration(answer.event_bridge_configuration)
            .build())
    }
}

enum Merged {
    Already,
    Changed(NotificationConfiguration, Subscribed),
}

/// What one notification of a bucket is about.
struct Told<'a> {
    id: &'a str,
    /// Queue, topic or function.
    whom: &'a str,
    events: &'a [Event],
    prefix: String,
    suffix: String,
}

fn merge(before: &NotificationConfiguration, subscription: &Subscription) -> Result<Merged> {
    let wanted = subscription.events();
    let all = told(before);
    for other in &all {
        let tells_all = wanted.iter().all(|event| other.events.iter().any(|told| covers(told, event)));
        let same_queue = other.whom == subscription.queue_arn;
        if same_queue
            && tells_all
            && other.suffix.is_empty()
            && subscription.prefix.starts_with(&other.prefix)
        {
            return Ok(Merged::Already);
        }
        let same_events = wanted
            .iter()
            .any(|event| other.events.iter().any(|told| covers(told, event) || covers(event, told)));
        let same_keys =
            subscription.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&subscription.prefix);
        if same_events && same_keys {
            let message = format!(
                "the bucket's notification {:?} tells {} of some of the same events of keys under {:?}, and a store sends each event \
                 to one: have that queue or topic hand them on, or take that notification away",
                other.id, other.whom, other.prefix
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
    }
    let id = unused_id(&all);
    let rule = (!subscription.prefix.is_empty()).then(|| {
        let rule = FilterRule::builder().name(FilterRuleName::Prefix).value(&subscription.prefix).build();
        let key = S3KeyFilter::builder().filter_rules(rule).build();
        NotificationConfigurationFilter::builder().key(key).build()
    });
    let added = QueueConfiguration::builder()
        .id(&id)
        .queue_arn(&subscription.queue_arn)
        .set_events(Some(wanted.clone()))
        .set_filter(rule)
        .build()
        .map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "the subscription is not one").caused_by(error)
        })?;
    let mut after = before.clone();
    after.queue_configurations.get_or_insert_default().push(added);
    let events = wanted.iter().map(|event| event.as_str().to_owned()).collect();
    Ok(Merged::Changed(after, Subscribed::Added { id, events, kept: all.len() }))
}

/// Of the form `Family:*` or `Family:Name`.
fn covers(told: &Event, event: &Event) -> bool {
    told == event || told.as_str().strip_suffix('*').is_some_and(|family| event.as_str().starts_with(family))
}

fn unused_id(all: &[Told<'_>]) -> String {
    let names = (1..).map(|number| if number == 1 { "ferry".to_owned() } else { format!("ferry-{number}") });
    names.take(all.len() + 1).find(|name| all.iter().all(|told| told.id != name)).unwrap_or_default()
}

fn ids(configuration: &NotificationConfiguration) -> Vec<String> {
    let mut ids: Vec<String> = told(configuration)
        .into_iter()
        .map(|told| format!("{} {} {:?} {} {}", told.id, told.whom, told.events, told.prefix, told.suffix))
        .collect();
    ids.extend(configuration.event_bridge_configuration.as_ref().map(|_| "EventBridge".to_owned()));
    ids
}

fn told(configuration: &NotificationConfiguration) -> Vec<Told<'_>> {
    let queues = configuration.queue_configurations().iter();
    let topics = configuration.topic_configurations().iter();
    let functions = configuration.lambda_function_configurations().iter();
    queues
        .map(|queue| one_of(queue.id(), queue.queue_arn(), queue.events(), queue.filter()))
        .chain(topics.map(|topic| one_of(topic.id(), topic.topic_arn(), topic.events(), topic.filter())))
        .chain(functions.map(|function| {
            one_of(function.id(), function.lambda_function_arn(), function.events(), function.filter())
        }))
        .collect()
}

fn one_of<'a>(
    id: Option<&'a str>,
    whom: &'a str,
    events: &'a [Event],
    filter: Option<&NotificationConfigurationFilter>,
) -> Told<'a> {
    let rules = filter.and_then(NotificationConfigurationFilter::key).map(S3KeyFilter::filter_rules);
    let value = |name: &str| {
        let mut rules = rules.into_iter().flatten();
        // Amazon writes the names with a capital letter, whoever set them how.
        let rule =
            rules.find(|rule| rule.name().is_some_and(|rule| rule.as_str().eq_ignore_ascii_case(name)));
        rule.and_then(FilterRule::value).unwrap_or_default().to_owned()
    };
    Told { id: id.unwrap_or_default(), whom, events, prefix: value("prefix"), suffix: value("suffix") }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{EventBridgeConfiguration, LambdaFunctionConfiguration, TopicConfiguration};

    use super::*;

    const QUEUE: &str = "arn:aws:sqs:us-east-1:0:jobs";

    fn subscription(prefix: &str, deletes: SubscribedDeletes) -> Subscription {
        Subscription { queue_arn: QUEUE.into(), prefix: prefix.into(), deletes }
    }

    fn filter(prefix: &str, suffix: &str) -> NotificationConfigurationFilter {
        let rule = |name: &str, value| FilterRule::builder().name(name.into()).value(value).build();
        let key =
            S3KeyFilter::builder().filter_rules(rule("Prefix", prefix)).filter_rules(rule("Suffix", suffix));
        NotificationConfigurationFilter::builder().key(key.build()).build()
    }

    /// One of each kind.
    fn others() -> NotificationConfiguration {
        let topic =
            TopicConfiguration::builder().id("t").topic_arn("arn:topic").events(Event::S3ObjectRemovedDelete);
        let function = LambdaFunctionConfiguration::builder()
            .id("ferry")
            .lambda_function_arn("arn:function")
            .events("s3:ObjectCreated:Put".into())
            .filter(filter("images/", ".jpg"));
        let queue =
            QueueConfiguration::builder().id("q").queue_arn("arn:other").events("s3:Surprise:New".into());
        NotificationConfiguration::builder()
            .topic_configurations(topic.build().expect("a topic"))
            .lambda_function_configurations(function.build().expect("a function"))
            .queue_configurations(queue.build().expect("a queue"))
            .event_bridge_configuration(EventBridgeConfiguration::builder().build())
            .build()
    }

    fn changed(before: &NotificationConfiguration, subscription: &Subscription) -> NotificationConfiguration {
        match merge(before, subscription) {
            Ok(Merged::Changed(after, _)) => after,
            Ok(Merged::Already) => panic!("it is no change"),
            Err(error) => panic!("{}", error.chain()),
        }
    }

    #[test]
    fn one_more_beside_all_others() {
        let before = others();
        let wanted = subscription("logs/", SubscribedDeletes::Left);
        let after = changed(&before, &wanted);
        for id in ids(&before) {
            assert!(ids(&after).contains(&id), "{id} was lost");
        }
        assert_eq!(ids(&after).len(), ids(&before).len() + 1);
        let added = after.queue_configurations().last().expect("one");
        assert_eq!((added.id(), added.queue_arn()), (Some("ferry-2"), QUEUE));
        assert!(matches!(merge(&after, &wanted), Ok(Merged::Already)));
        let part_of_it = subscription("logs/today/", SubscribedDeletes::Left);
        assert!(matches!(merge(&after, &part_of_it), Ok(Merged::Already)));
    }

    #[test]
    fn what_the_store_would_refuse_is_refused_by_name() {
        for (prefix, deletes, words) in [
            ("", SubscribedDeletes::Left, "arn:function"),
            ("images/2026/", SubscribedDeletes::Left, "arn:function"),
            ("logs/", SubscribedDeletes::Told, "arn:topic"),
        ] {
            let Err(error) = merge(&others(), &subscription(prefix, deletes)) else { panic!("{prefix}") };
            assert!(error.chain().contains(words), "{}", error.chain());
        }
        let after = changed(
            &NotificationConfiguration::builder().build(),
            &subscription("a", SubscribedDeletes::Left),
        );
        assert!(merge(&after, &subscription("a", SubscribedDeletes::Told)).is_err(), "a wider one overlaps");
    }

    #[test]
    fn the_first_one_of_a_bucket_without_a_prefix_has_no_filter() {
        let empty = NotificationConfiguration::builder().build();
        let after = changed(&empty, &subscription("", SubscribedDeletes::Told));
        let added = after.queue_configurations().first().expect("one");
        assert!(added.filter().is_none() && added.id() == Some("ferry"));
        let events: Vec<&str> = added.events().iter().map(Event::as_str).collect();
        assert_eq!(
            events,
            [
                "s3:ObjectCreated:*",
                "s3:ObjectRestore:Completed",
                "s3:ObjectRemoved:*",
                "s3:LifecycleExpiration:*"
            ]
        );
    }
}
