// Package train trains models: the diffusion objective, AdamW and Muon, the moving average of the
// weights, and the loop that turns a data set into a checkpoint and resumes bit for bit.
//
// It may import models, data sets and checkpoint files. It knows no flags and generates no images:
// callbacks report progress, and callers may sample from the current weights.
package train
