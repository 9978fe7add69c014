//! Does one work of `isorate bench` again and again, for a profiler that watches: `profile WORK SECONDS [composed]`, with the
//! operations of isorate-kernels composed of candle's own if that is said.
//!
//! `crates/bench/step_profile.py` uses it.

#![allow(clippy::print_stdout, reason = "an example talks")]

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (name, seconds) = (arguments.next().ok_or("which work?")?, arguments.next().ok_or("how many seconds?")?.parse()?);
    isorate_kernels::compose(arguments.next().is_some_and(|how| how == "composed"));
    let works = isorate_bench::works();
    let work = works.iter().find(|work| work.name() == name).ok_or("there is no such work")?;
    println!("{}", isorate_bench::repeat(work, seconds)?);
    Ok(())
}
