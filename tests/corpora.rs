//! Replays the corpora of the fuzz targets, each input whole, cut short and with changed bytes.

use std::fs;
use std::path::Path;

use muses::fuzzing::TARGETS;

#[test]
fn every_corpus_passes_and_so_do_its_neighbours() {
    for (name, body) in TARGETS {
        let folder = Path::new("fuzz/corpus").join(name);
        let mut inputs = 0;
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            println!("{}", path.display());
            body(&input);
            // A prime step keeps the run short and still meets every kind of field.
            for cut in (0..input.len()).step_by(7) {
                body(&input[..cut]);
                let mut changed = input.clone();
                changed[cut] ^= 0x41;
                body(&changed);
            }
            inputs += 1;
        }
        assert!(inputs > 0, "{}: empty", folder.display());
    }
}
