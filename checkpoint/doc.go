// Package checkpoint reads and writes files of weights: safetensors, one file or sharded, PyTorch's
// zip format (.pt, .pth, .bin) and the older one of pickles and raw storages. It turns a file into
// named tensors and back.
//
// It knows formats, and how training scripts nest and wrap what they save. What a name means to a
// model, and how one publisher's names map to another's, is for the packages of models.
//
// Files are foreign: nothing in them is executed, what they cost is bounded by their size, and
// whatever is wrong becomes an error that names the file and the tensor. Objects of classes that
// mean nothing here are inert: a file is refused for one only where it stands in place of a weight.
// Tensors are read when they are asked for, a part at a time, so that a file takes little more
// memory than what the caller keeps of it.
package checkpoint
