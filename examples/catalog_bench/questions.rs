//! Six questions, each asked once of a catalog that this process has not seen.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use jiff::ToSpan;
use tier::catalog::{Change, NewFile, Operation, Outcome, Snapshot, commit};
use tier::clock::Stopwatch;
use tier::context::Context;
use tier::query::{Engine, QuerySettings};
use tier::store::{Layout, Requests};

use super::Result;
use super::catalog::{LAST_DAY, Shape, Tenants, tenant};
use super::latency::Slow;

/// Any of the middle ones: not the largest where they are skewed.
const TENANT: u64 = 977;

/// How often a process asks once more.
const AGAIN: usize = 5;

/// What an answer took, as one line of JSON.
pub async fn ask(ctx: &Context, question: &str, latency_ms: u64) -> Result<()> {
    let latency = Duration::from_millis(latency_ms);
    // What the next night adds is made before the clock starts.
    let night = match question {
        "append" => shape(&Snapshot::open(&ctx.store).await?).next_night(),
        _ => Vec::new(),
    };
    let ctx = Context { store: ctx.store.behind(|inner| Arc::new(Slow { inner, latency })), ..ctx.clone() };
    let before = ctx.store.requests();
    let (started, cpu) = (Stopwatch::start(), cpu_ms());
    let files = match question {
        "append" => append(&ctx, night).await?,
        question => plan(&ctx, &sql(question)?).await?,
    };
    let (elapsed, cpu) = (started.elapsed_ms(), cpu_ms() - cpu);
    let Requests { list, get, head, put, bytes_read, .. } = ctx.store.requests().since(&before);
    let memory = memory_mb();
    let again = match question {
        "append" => String::new(),
        question => again(&ctx, &sql(question)?).await?,
    };
    println!(
        "{{\"question\": \"{question}\", \"requests\": {}, \"puts\": {put}, \"bytes\": {bytes_read}, \"ms\": {elapsed}, \
         \"cpu_ms\": {cpu:.1}, {again}\"memory_mb\": {}, \"program_mb\": {}, \"files\": {files}}}",
        list + get + head + put,
        memory.0,
        memory.1,
    );
    Ok(())
}

async fn append(ctx: &Context, night: Vec<NewFile>) -> Result<u64> {
    let base = Snapshot::open(&ctx.store).await?;
    let files = night.len() as u64;
    let mut change = Change::new(Operation::new("append", base.version()));
    change.add = night;
    let layout = Layout::for_run(base.version(), &ctx.random.id());
    match commit(ctx, Some(&base), &layout, change).await? {
        Outcome::Committed(_) => Ok(files),
        Outcome::Conflict(why) => Err(why.into()),
    }
}

/// The same question to a process that has loaded its code, with everything read anew: medians.
async fn again(ctx: &Context, sql: &str) -> Result<String> {
    let mut times = Vec::new();
    let mut cpus = Vec::new();
    for _ in 0..AGAIN {
        let (started, cpu) = (Stopwatch::start(), cpu_ms());
        plan(ctx, sql).await?;
        times.push(started.elapsed_ms());
        cpus.push(cpu_ms() - cpu);
    }
    times.sort_unstable();
    cpus.sort_unstable_by(f64::total_cmp);
    Ok(format!("\"again_ms\": {}, \"again_cpu_ms\": {:.1}, ", times[AGAIN / 2], cpus[AGAIN / 2]))
}

/// Until the first data could be read.
async fn plan(ctx: &Context, sql: &str) -> Result<u64> {
    let mut engine = Engine::open(ctx, &QuerySettings::default()).await?;
    let statement = engine.parse(sql)?.pop_front().ok_or("no SQL")?;
    let plan = engine.plan(statement).await?;
    Ok(plan.ladder().planned.files)
}

fn sql(question: &str) -> Result<String> {
    let since = |span: jiff::Span| LAST_DAY.checked_sub(span).expect("dates go back").tomorrow().expect("and on");
    let of_tenant =
        |name: &str, from| format!("SELECT sum(amount) FROM events WHERE tenant_id = '{name}' AND date >= '{from}'");
    Ok(match question {
        "tenant-3y" => of_tenant(&tenant(TENANT), since(3.years())),
        "tenant-30d" => of_tenant(&tenant(TENANT), since(30.days())),
        "largest-3y" => of_tenant(&tenant(0), since(3.years())),
        "largest-limit" => format!("SELECT * FROM events WHERE tenant_id = '{}' LIMIT 100", tenant(0)),
        "type-1y" => {
            format!("SELECT sum(amount) FROM events WHERE event_type = 'e_03' AND date >= '{}'", since(1.year()))
        }
        "day" => format!("SELECT sum(amount) FROM events WHERE date = '{}'", since(1.day())),
        "count" => "SELECT count(*) FROM events".to_owned(),
        other => return Err(format!("`{other}` is no question").into()),
    })
}

fn shape(snapshot: &Snapshot) -> Shape {
    Shape::new(snapshot.root().leaves.files(), Tenants::Uniform)
}

/// Of all threads of this process, those that have ended included.
fn cpu_ms() -> f64 {
    let mut spent = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to what it is given, and nowhere else.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut spent) };
    spent.tv_sec as f64 * 1e3 + spent.tv_nsec as f64 / 1e6
}

/// The most memory this process had at once, and beside it the pages of the program itself, which the system reads from
/// its file and may drop at any time.
fn memory_mb() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    let program = kilobytes("RssFile:");
    (kilobytes("VmHWM:").saturating_sub(program) / 1024, program / 1024)
}
