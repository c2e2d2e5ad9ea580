// Package train makes models: the diffusion objective, AdamW, the moving average of the weights, and the loops that turn a data set into
// a checkpoint, resuming bit for bit.
//
// It may import the models, the data sets and the files that weights live in. It knows no flags and draws no pictures: callers are
// told of progress, and may sample the weights as they are.
package train
