//! The operations the endpoint serves.

/// An operation of SQS that is served here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the SQS API reference")]
pub enum Operation {
    CreateQueue,
    GetQueueUrl,
    ListQueues,
    GetQueueAttributes,
    SendMessage,
    SendMessageBatch,
    ReceiveMessage,
    DeleteMessage,
    DeleteMessageBatch,
    ChangeMessageVisibility,
    ChangeMessageVisibilityBatch,
    PurgeQueue,
}

/// An operation that answers entry by entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the SQS API reference")]
pub enum BatchOperation {
    SendMessageBatch,
    DeleteMessageBatch,
    ChangeMessageVisibilityBatch,
}

impl Operation {
    /// Every operation, in declaration order.
    pub const ALL: [Self; 12] = [
        Self::CreateQueue,
        Self::GetQueueUrl,
        Self::ListQueues,
        Self::GetQueueAttributes,
        Self::SendMessage,
        Self::SendMessageBatch,
        Self::ReceiveMessage,
        Self::DeleteMessage,
        Self::DeleteMessageBatch,
        Self::ChangeMessageVisibility,
        Self::ChangeMessageVisibilityBatch,
        Self::PurgeQueue,
    ];

    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::CreateQueue => "CreateQueue",
            Self::GetQueueUrl => "GetQueueUrl",
            Self::ListQueues => "ListQueues",
            Self::GetQueueAttributes => "GetQueueAttributes",
            Self::SendMessage => "SendMessage",
            Self::SendMessageBatch => "SendMessageBatch",
            Self::ReceiveMessage => "ReceiveMessage",
            Self::DeleteMessage => "DeleteMessage",
            Self::DeleteMessageBatch => "DeleteMessageBatch",
            Self::ChangeMessageVisibility => "ChangeMessageVisibility",
            Self::ChangeMessageVisibilityBatch => "ChangeMessageVisibilityBatch",
            Self::PurgeQueue => "PurgeQueue",
        }
    }

    /// The operation an `X-Amz-Target` header names.
    pub(super) fn from_target(target: &str) -> Option<Self> {
        let name = target.strip_prefix("AmazonSQS.")?;
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }
}

impl From<BatchOperation> for Operation {
    fn from(operation: BatchOperation) -> Self {
        match operation {
            BatchOperation::SendMessageBatch => Self::SendMessageBatch,
            BatchOperation::DeleteMessageBatch => Self::DeleteMessageBatch,
            BatchOperation::ChangeMessageVisibilityBatch => Self::ChangeMessageVisibilityBatch,
        }
    }
}
