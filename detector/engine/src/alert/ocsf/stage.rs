//! The stage of a finding, in the words of the schema.

/// The stage of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingStage {
    /// It is published for the first time.
    New,
    /// It has changed.
    InProgress,
    /// It turned out to be wrong, or goes on as a part of another one.
    Resolved,
}

/// Words and numbers of a stage.
pub(super) struct StageWords {
    pub(super) activity_id: u8,
    pub(super) activity: &'static str,
    pub(super) type_name: &'static str,
    pub(super) status_id: u8,
    pub(super) status: &'static str,
}

impl FindingStage {
    pub(super) fn words(self) -> StageWords {
        match self {
            Self::New => StageWords {
                activity_id: 1,
                activity: "Create",
                type_name: "Detection Finding: Create",
                status_id: 1,
                status: "New",
            },
            Self::InProgress => StageWords {
                activity_id: 2,
                activity: "Update",
                type_name: "Detection Finding: Update",
                status_id: 2,
                status: "In Progress",
            },
            Self::Resolved => StageWords {
                activity_id: 3,
                activity: "Close",
                type_name: "Detection Finding: Close",
                status_id: 4,
                status: "Resolved",
            },
        }
    }
}
