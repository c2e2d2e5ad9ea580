// Package checkpoint reads and writes files of weights: safetensors, one file or sharded, PyTorch's zip format (.pt, .pth, .bin) and the
// older one of pickles and raw storages. It turns a file into named tensors and back.
//
// It knows formats and names. What a name means to a model, and how one publisher's names map to another's, is for the packages of models.
//
// Files are foreign: nothing in them is executed, every size is checked before memory is taken for it, and whatever is wrong becomes
// an error that names the file and the tensor. Tensors are read when they are asked for, a part at a time, so that a file takes little
// more memory than what the caller keeps of it.
package checkpoint
