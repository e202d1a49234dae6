"""What people type: `pipeline`, `pipeline-top` and the benches."""
