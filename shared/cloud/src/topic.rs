//! Announcements to people and programs: a topic of SNS.
//!
//! Owns: publishing one text. Does not own: who hears it. Source: Amazon SNS API Reference, "Publish", version 2010-03-31.

use ferry_transfer::{Error, ErrorKind, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::aws_api::{AwsApi, Service};

/// What stands in a form as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Most characters of a subject (Amazon SNS API Reference, "Publish").
const SUBJECT_CHARS: usize = 99;

/// A topic.
#[derive(Debug)]
pub struct Topic {
    api: AwsApi,
    arn: String,
}

impl Topic {
    /// The topic of this ARN, in the region that the ARN names, reached as the AWS tools would from here.
    pub async fn connect(arn: &str) -> Result<Self> {
        let region = region_of(arn)?;
        Ok(Self { api: AwsApi::connect_in(Service::Sns, Some(region)).await?, arn: arn.to_owned() })
    }

    /// Publishes a message. A subject is cut to what mail takes.
    pub async fn publish(&self, subject: &str, message: &str) -> Result<()> {
        self.api.post_form("Publish", &form(&self.arn, subject, message)).await
    }
}

fn region_of(arn: &str) -> Result<&str> {
    let parts: Vec<&str> = arn.split(':').collect();
    match parts[..] {
        ["arn", _, "sns", region, _, name] if !region.is_empty() && !name.is_empty() => Ok(region),
        _ => Err(Error::new(
            ErrorKind::Configuration,
            format!("{arn:?} is no topic: write arn:aws:sns:REGION:ACCOUNT:NAME"),
        )),
    }
}

fn form(arn: &str, subject: &str, message: &str) -> String {
    let encode = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
    let subject: String =
        subject.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).take(SUBJECT_CHARS).collect();
    format!(
        "Action=Publish&Version=2010-03-31&TopicArn={}&Subject={}&Message={}",
        encode(arn),
        encode(subject.trim()),
        encode(message)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_asked_in_the_region_of_its_arn() {
        assert_eq!(region_of("arn:aws-cn:sns:cn-north-1:1:jobs").expect("region"), "cn-north-1");
        for wrong in ["", "jobs", "arn:aws:sqs:eu-west-1:1:jobs", "arn:aws:sns::1:jobs"] {
            assert_eq!(region_of(wrong).expect_err(wrong).kind(), ErrorKind::Configuration);
        }
    }

    #[test]
    fn a_form_keeps_its_texts_apart() {
        let form = form("arn:aws:sns:x:1:n", &"a&b\n".repeat(40), "ü=&");
        assert!(form.contains("&Message=%C3%BC%3D%26"), "{form}");
        let subject = form.split('&').find_map(|pair| pair.strip_prefix("Subject=")).expect("subject");
        assert!(subject.starts_with("a%26b%20a") && subject.matches("a%26b").count() == 25, "{subject}");
    }
}
