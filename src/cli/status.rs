//! placeholder while the layers below land
use super::App;
use crate::error::Result;
#[derive(Debug, clap::Args)]
pub struct StatusArgs {}
pub async fn run(_app: &App, _args: StatusArgs) -> Result<u8> {
    Ok(0)
}
