//! Makes archived files readable for a while: what it costs, when it is ready, and how far it is.
//!
//! # Flow
//! files a question needs → what the store says of them → plan: an offer per retrieval tier → the chosen offer's orders
//! → requests. The plan is pure; the question is answered elsewhere.
//!
//! # Consistency
//! A job is one object, `_tier/restore/<id>.json`, named for what was asked, of which version, and which files: asking
//! again is the same job. Whether a file is readable only the store knows, and it is asked every time. Windows belong to
//! files, not to jobs: a file that another job made readable for long enough is not asked for again.
//!
//! # Crash
//! The job is durable before the first request. Run again, `start` asks the store what has become of each file and
//! requests the rest.
//!
//! # Cost
//! One HEAD for each of a few files or one LIST per thousand of many, then one request for each file that needs one.

mod job;
mod plan;
mod start;
mod status;

pub use job::{Job, jobs, read_job};
pub use plan::{Action, Choice, Count, Limits, Needed, Offer, Order, RestorePlan, Terms};
pub use start::{ExtendReport, StartReport, cancel, extend, plan, plan_extend, start};
pub use status::{JobState, JobStatus, status, wait};
