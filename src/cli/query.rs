//! placeholder while the layers below land
use super::App;
use crate::error::Result;
#[derive(Debug, clap::Args)]
pub struct QueryArgs {}
pub async fn run(_app: &App, _args: QueryArgs) -> Result<u8> {
    Ok(0)
}
