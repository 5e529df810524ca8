//! Which deployment on AWS is meant.

use clap::Args as ClapArgs;

/// Which deployment on AWS is meant. Region and credentials are those of the AWS tools: AWS_REGION, AWS_PROFILE and the rest.
#[derive(Debug, Clone, ClapArgs)]
pub struct StackArgs {
    /// The stack's ParameterPath: where its tasks, stores and queues are written down in SSM
    #[arg(long, env = "FERRY_PATH", value_name = "PATH", default_value = "/ferry", value_parser = parameter_path, global = true, help_heading = "Stack")]
    pub path: String,
}

fn parameter_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let is_plain = |segment: &str| {
        !segment.is_empty()
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    match path.strip_prefix('/') {
        Some(rest) if rest.split('/').all(is_plain) => Ok(path.to_owned()),
        _ => Err("a path of parameters begins with a slash, such as /ferry".to_owned()),
    }
}
