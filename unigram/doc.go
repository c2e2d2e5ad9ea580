// Package unigram turns text into token ids with a unigram language model (Kudo, "Subword
// Regularization", 2018), as the tokenizers of T5 and its relatives do.
//
// It reads the two files in which such tokenizers are published, SentencePiece's spiece.model and
// Hugging Face's tokenizer.json, and follows the program that each file belongs to: the two
// normalize white space, combining marks and literal special tokens differently (see Rules).
//
// Text goes through three stages: normalization by the character table of the file
// (charsmap.go), splitting into stretches (sentencepiece.go, huggingface.go), and segmentation of
// each stretch into the pieces with the highest sum of scores (segment.go). What the ids mean to a
// network does not belong here.
package unigram
