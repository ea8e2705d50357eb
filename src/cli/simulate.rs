//! `muses sim`: the overlay at scale, in virtual time, as a table or as JSON.

use std::io::{self, ErrorKind, Write};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::exit::{Exit, Failure};
use crate::cloak::geometry;
use crate::limits::DEGREES;
use crate::net::clock::Clock;
use crate::sim::overlay::{self, Churn, Figures, Plan, Tries};

/// What `muses sim` plays. Lists are played in all combinations, one line each; figures are means over the
/// seeds.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Nodes of the overlay.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1000",
          value_parser = clap::value_parser!(u32).range(2..=100_000))]
    nodes: Vec<u32>,
    /// Nodes that each joiner dials.
    #[arg(long, value_name = "M", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=64))]
    links: u32,
    /// Directions of each node of the tree.
    #[arg(long, value_name = "Q", value_delimiter = ',', default_value = "16",
          value_parser = clap::value_parser!(u32).range(i64::from(DEGREES.0)..=i64::from(DEGREES.1)))]
    degree: Vec<u32>,
    /// Whom a joiner dials: nodes by chance, or rather those that have many links already.
    #[arg(long, value_delimiter = ',', default_value = "random")]
    graph: Vec<Graph>,
    /// How nodes measure distances.
    #[arg(long, default_value = "tree")]
    metric: Metric,
    /// Percent of the nodes that are replaced in ten minutes, by chance and without a word.
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', value_parser = positive)]
    churn: Vec<f64>,
    /// Seconds until the neighbours of a dead node notice.
    #[arg(long, value_name = "SECONDS", value_delimiter = ',', default_value = "1", requires = "churn", value_parser = positive)]
    detect: Vec<f64>,
    /// What chance comes from, such as 7 or 1-5: one seed is one run, always the same.
    #[arg(long, value_name = "S", value_delimiter = ',', default_value = "1")]
    seed: Vec<Seeds>,
    /// One JSON object in each line, for scripts.
    #[arg(long)]
    json: bool,
}

/// Whom a joiner dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Graph {
    /// Nodes by chance.
    Random,
    /// Rather nodes that have many links.
    Preferential,
}

/// How nodes measure distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Metric {
    /// Edges of the tree.
    Tree,
    /// In the hyperbolic plane.
    Hyperbolic,
}

/// One seed, or all from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    first: u64,
    last: u64,
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.parse::<u64>().map_err(|e| format!("{text:?}: {e}"));
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last - first >= 10_000 {
            return Err("a range goes upwards, over at most 10,000 seeds".to_owned());
        }
        Ok(Self { first, last })
    }
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if (0.01..=10_000.0).contains(&number) {
        Ok(number)
    } else {
        Err("0.01 to 10000".to_owned())
    }
}

/// One line of the result.
#[derive(Debug, Serialize)]
struct Row {
    nodes: u32,
    links: u32,
    degree: u32,
    graph: &'static str,
    metric: &'static str,
    churn: Option<f64>,
    detect: Option<f64>,
    seeds: usize,
    /// Under churn if there is any, else settled.
    delivery: Option<f64>,
    delivery_settled: Option<f64>,
    stretch_mean: f64,
    stretch_max: f64,
    hops_mean: f64,
    shortest_mean: f64,
    depth_mean: f64,
    depth_max: f64,
    refused: f64,
    homeless: u64,
    misbehaviour: u64,
    unchecked: u64,
    parents_left: u64,
    /// Under churn if there is any, else settled.
    dht_success: Option<f64>,
    dht_success_settled: Option<f64>,
    dht_hops_mean: Option<f64>,
    dht_top10_share: Option<f64>,
    control_bytes_per_node_min: f64,
    state_bytes_per_node: f64,
    deaths: Option<u64>,
    root_deaths: Option<u64>,
    root_death_delivery: Option<f64>,
    settled_s: f64,
    wall_s: f64,
}

/// Plays everything asked for and prints a line as soon as its runs are over.
pub(super) fn simulate(options: &Options) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    let is_churn = !options.churn.is_empty();
    if !options.json && !print(&mut out, &head(is_churn))? {
        return Ok(Exit::Clean);
    }
    let seeds = options
        .seed
        .iter()
        .flat_map(|range| range.first..=range.last);
    let seeds: Vec<u64> = seeds.collect();
    for plan in plans(options) {
        let row = Row::of(&plan, &seeds);
        let line = if options.json {
            let json = serde_json::to_string(&row);
            json.map_err(|e| Failure::new(Exit::Failed, e.to_string()))? + "\n"
        } else {
            row.line(is_churn)
        };
        if !print(&mut out, &line)? {
            break;
        }
    }
    Ok(Exit::Clean)
}

/// False when the reader has seen enough.
fn print(out: &mut impl Write, text: &str) -> Result<bool, Failure> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Failure::new(
            Exit::Failed,
            format!("cannot write to stdout: {e}"),
        )),
    }
}

/// All combinations.
fn plans(options: &Options) -> Vec<Plan> {
    let churns: Vec<Option<Churn>> = if options.churn.is_empty() {
        vec![None]
    } else {
        let pair = |percent: f64| {
            let churn =
                move |detect: &f64| Some(Churn::new(percent, Duration::from_secs_f64(*detect)));
            options.detect.iter().map(churn)
        };
        options.churn.iter().copied().flat_map(pair).collect()
    };
    let mut plans = Vec::new();
    for nodes in &options.nodes {
        for graph in &options.graph {
            for degree in &options.degree {
                plans.extend(churns.iter().map(|churn| Plan {
                    nodes: usize::try_from(*nodes).unwrap_or(usize::MAX),
                    links: usize::try_from(options.links).unwrap_or(usize::MAX),
                    degree: *degree,
                    graph: match graph {
                        Graph::Random => overlay::Graph::Random,
                        Graph::Preferential => overlay::Graph::Preferential,
                    },
                    metric: match options.metric {
                        Metric::Tree => geometry::Metric::Tree,
                        Metric::Hyperbolic => geometry::Metric::Hyperbolic,
                    },
                    churn: *churn,
                    seed: 0,
                }));
            }
        }
    }
    plans
}

/// The mean over runs; zero without any.
fn mean(runs: &[Figures], of: impl Fn(&Figures) -> f64) -> f64 {
    runs.iter().map(of).sum::<f64>() / count(runs.len()).max(1.0)
}

fn largest(runs: &[Figures], of: impl Fn(&Figures) -> f64) -> f64 {
    runs.iter().map(of).fold(0.0, f64::max)
}

/// The share over all tries of all runs.
fn share(runs: &[Figures], of: impl Fn(&Figures) -> Option<Tries>) -> Option<f64> {
    let mut all = Tries::default();
    runs.iter().filter_map(of).for_each(|tries| all.join(tries));
    all.share()
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

impl Row {
    fn of(plan: &Plan, seeds: &[u64]) -> Self {
        let clock = Clock::start();
        let start = clock.now();
        let play = |seed: &u64| {
            overlay::run(&Plan {
                seed: *seed,
                ..*plan
            })
        };
        let runs: Vec<Figures> = seeds.iter().map(play).collect();
        let wall_s = clock.now().since(start).as_secs_f64() / count(runs.len()).max(1.0);
        let settled = share(&runs, |run| Some(run.delivery));
        let found = share(&runs, |run| {
            run.directory.map(|directory| directory.lookups)
        });
        let churn = plan.churn.is_some();
        let directory = |of: fn(&overlay::DirectoryFigures) -> f64| {
            let all = runs.iter().all(|run| run.directory.is_some());
            all.then(|| mean(&runs, |run| run.directory.as_ref().map_or(0.0, of)))
        };
        let sum = |of: fn(&overlay::ChurnFigures) -> u64| {
            churn.then(|| {
                runs.iter()
                    .filter_map(|run| run.churn.as_ref().map(of))
                    .sum()
            })
        };
        Self {
            nodes: u32::try_from(plan.nodes).unwrap_or(u32::MAX),
            links: u32::try_from(plan.links).unwrap_or(u32::MAX),
            degree: plan.degree,
            graph: match plan.graph {
                overlay::Graph::Random => "random",
                overlay::Graph::Preferential => "preferential",
            },
            metric: match plan.metric {
                geometry::Metric::Tree => "tree",
                geometry::Metric::Hyperbolic => "hyperbolic",
            },
            churn: plan.churn.map(|churn| churn.percent),
            detect: plan.churn.map(|churn| churn.detect.as_secs_f64()),
            seeds: seeds.len(),
            delivery: share(&runs, |run| run.churn.map(|churn| churn.packets)).or(settled),
            delivery_settled: settled,
            stretch_mean: mean(&runs, |run| run.stretch.mean()),
            stretch_max: largest(&runs, |run| run.stretch.max()),
            hops_mean: mean(&runs, |run| run.hops.mean()),
            shortest_mean: mean(&runs, |run| run.shortest.mean()),
            depth_mean: mean(&runs, |run| run.depth.mean()),
            depth_max: largest(&runs, |run| run.depth.max()),
            refused: mean(&runs, |run| run.refused),
            homeless: runs.iter().map(|run| run.homeless).sum(),
            misbehaviour: runs.iter().map(|run| run.misbehaviour).sum(),
            unchecked: runs.iter().map(|run| run.unchecked).sum(),
            parents_left: runs.iter().map(|run| run.parents_left).sum(),
            dht_success: share(&runs, |run| run.churn.map(|churn| churn.lookups)).or(found),
            dht_success_settled: found,
            dht_hops_mean: directory(|directory| directory.hops.mean()),
            dht_top10_share: directory(|directory| directory.top10_share),
            control_bytes_per_node_min: mean(&runs, |run| run.control_bytes),
            state_bytes_per_node: mean(&runs, |run| run.state_bytes.mean()),
            deaths: sum(|churn| churn.deaths),
            root_deaths: sum(|churn| churn.root_deaths),
            root_death_delivery: share(&runs, |run| run.churn.map(|churn| churn.near_root_death)),
            settled_s: mean(&runs, |run| run.settled_after),
            wall_s,
        }
    }

    /// A line of the table.
    fn line(&self, churn: bool) -> String {
        let graph = format!("{} {}, {}", self.graph, self.nodes, self.links);
        let mut line = format!("{graph:<26} {:>3}", self.degree);
        if churn {
            line += &format!(
                " {:>7} {:>6} {:>9} {:>9} {:>6} {:>5} {:>9}",
                self.churn
                    .map_or_else(String::new, |churn| format!("{churn} %")),
                self.detect
                    .map_or_else(String::new, |detect| format!("{detect} s")),
                percent(self.delivery),
                percent(self.root_death_delivery),
                self.deaths.unwrap_or_default(),
                self.root_deaths.unwrap_or_default(),
                percent(self.dht_success),
            );
        } else {
            line += &format!(
                " {:>5.2} / {:<3} {:>7.1} {:>5.2} ({:.2})  {:.3} ({:.1})  {:>8} {:>8} {:>5} {:>6} {:>7.0} {:>7.0}",
                self.depth_mean,
                self.depth_max,
                self.refused,
                self.hops_mean,
                self.shortest_mean,
                self.stretch_mean,
                self.stretch_max,
                percent(self.delivery),
                percent(self.dht_success),
                self.dht_hops_mean
                    .map_or_else(dash, |hops| format!("{hops:.2}")),
                percent(self.dht_top10_share),
                self.control_bytes_per_node_min,
                self.state_bytes_per_node,
            );
        }
        line += &format!(" {:>7.1}", self.wall_s);
        let faults = [
            self.homeless,
            self.misbehaviour,
            self.unchecked,
            self.parents_left,
        ];
        if faults.iter().any(|fault| *fault > 0) {
            line += &format!(
                "  ! {} without a place, {} links closed, {} statements unchecked, {} parents left",
                self.homeless, self.misbehaviour, self.unchecked, self.parents_left
            );
        }
        line + "\n"
    }
}

fn head(churn: bool) -> String {
    let mut head = format!("{:<26} {:>3}", "graph N, m", "q");
    head += if churn {
        "   churn detect   success near root deaths roots dht found"
    } else {
        " depth/max   refused hops (shrt) stretch (max) delivery dht found  hops  top10   B/min  B/node"
    };
    head + "  wall s\n"
}

fn dash() -> String {
    "-".to_owned()
}

/// A share as a percentage: with as many digits as it takes to tell it from all.
fn percent(share: Option<f64>) -> String {
    share.map_or_else(dash, |share| {
        let percent = 100.0 * share;
        if (99.0..100.0).contains(&percent) {
            format!("{percent:.3} %")
        } else {
            format!("{percent:.1} %")
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(line: &str) -> Result<Options, clap::Error> {
        let words = std::iter::once("sim").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.options)
    }

    #[test]
    fn lists_are_combined() {
        let all =
            options("--nodes 100,200 --graph random,preferential --degree 4,8,16,32").unwrap();
        assert_eq!(plans(&all).len(), 16);
        let churn = options("--churn 10,20 --detect 1,5,15 --seed 1-5,9").unwrap();
        assert_eq!(plans(&churn).len(), 6);
        let seeds: Vec<_> = churn.seed.iter().map(|s| (s.first, s.last)).collect();
        assert_eq!(seeds, [(1, 5), (9, 9)]);
        assert_eq!(plans(&options("").unwrap()).len(), 1);
    }

    #[test]
    fn what_makes_no_overlay_is_refused() {
        for line in [
            "--nodes 1",
            "--links 0",
            "--degree 2",
            "--degree 257",
            "--graph ring",
            "--metric euclid",
            "--churn 0",
            "--churn nan",
            "--churn 10 --detect -1",
            "--detect 5",
            "--seed 5-1",
            "--seed x",
        ] {
            assert!(options(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_small_run_gives_every_key() {
        let options = options("--nodes 20 --json").unwrap();
        let row = Row::of(&plans(&options)[0], &[3]);
        let json = serde_json::to_value(&row).unwrap();
        for key in [
            "delivery",
            "stretch_mean",
            "stretch_max",
            "hops_mean",
            "depth_mean",
            "depth_max",
            "refused",
            "dht_success",
            "dht_hops_mean",
            "dht_top10_share",
            "control_bytes_per_node_min",
            "state_bytes_per_node",
            "wall_s",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
        assert_eq!(json["delivery"], 1.0);
        assert!(row.line(false).contains("100.0 %"));
        assert!(row.line(false).lines().count() == 1);
    }

    #[test]
    fn nearly_all_is_not_all() {
        assert_eq!(percent(Some(1.0)), "100.0 %");
        assert_eq!(percent(Some(0.99996)), "99.996 %");
        assert_eq!(percent(Some(0.5)), "50.0 %");
        assert_eq!(percent(None), "-");
    }
}
