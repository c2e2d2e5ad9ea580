// Package prompt turns texts into what a text-to-image model is conditioned on: an Encoder tokenizes
// a text and runs a T5 encoder, and a Reader makes conditions of it for one model.
//
// A text encoder may be larger than the model. It is loaded when a text is met that is not known yet,
// and released when all texts of a call are encoded. Encoded texts are kept by their content: in
// memory, in a folder if one is given, or in a file that was written ahead (Write).
//
// It knows no samplers and no images.
package prompt
