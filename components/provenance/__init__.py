"""What a run was made from: commit, data, machine, libraries; written, and read again."""
