package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kinds are formats that are not read here, by the bytes that they begin with, with what to do.
var kinds = []struct{ magic, is string }{
	{"GGUF", "a GGUF file, whose weights are mostly quantised: take the safetensors or PyTorch file it was made from"},
	{"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes weights: convert it to safetensors"},
	{"\x93NUMPY", "an array of NumPy, not a model's tensors: convert it to safetensors"},
	{"\x1f\x8b", "compressed with gzip: unpack it first"},
	{"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it first"},
	{"\xfd7zXZ\x00", "compressed with xz: unpack it first"},
	{"BZh", "compressed with bzip2: unpack it first"},
	{"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it first"},
	{"Rar!\x1a\x07", "a RAR archive: unpack it first"},
	{"PK\x05\x06", "an empty zip archive: the file was not written to its end, or not fetched"},
	{"\x89PNG\r\n\x1a\n", "a PNG image, not weights"},
	{"\xff\xd8\xff", "a JPEG image, not weights"},
	{"RIFF", "an image or a sound (RIFF), not weights"},
	{"%PDF", "a PDF document, not weights"},
	{"SQLite format 3", "an SQLite database, not weights"},
}

// otherFormat says what a file is by its first bytes, if it is in a format that is known but not
// read, and what to do; else it returns nil. The length of a safetensors header may have such
// bytes.
func otherFormat(head []byte) error {
	if len(head) > 8 && head[8] == '{' {
		return nil
	}
	for _, k := range kinds {
		if bytes.HasPrefix(head, []byte(k.magic)) {
			return errors.New(k.is)
		}
	}
	switch {
	case len(bytes.Trim(head, "\x00")) == 0:
		return errors.New("it begins with zeros: the file was not written to its end, or not fetched; get it again")
	case len(head) > 2 && head[0] == opProto && head[1] <= 5:
		return errors.New("a bare pickle, not a file of torch.save: load it and save its state_dict with torch.save")
	}
	return nil
}

// tarAt is where a tar archive has its magic.
const tarAt, tarMagic = 257, "ustar"

// unknownFormat says of a file of no known first bytes what it may be.
func unknownFormat(head []byte, file io.ReaderAt) error {
	var tar [len(tarMagic)]byte
	if _, err := file.ReadAt(tar[:], tarAt); err == nil && string(tar[:]) == tarMagic {
		return errors.New("a tar archive: unpack it first")
	}
	text := strings.TrimSpace(strings.TrimPrefix(string(head), "\uFEFF"))
	switch {
	case strings.HasPrefix(text, "<"):
		return errors.New("a web page, not weights: the download failed or needs a login; download it again")
	case isText(head):
		return fmt.Errorf("text that begins with %q, not weights: the download may have failed", text)
	}
	return errors.New("unknown format: neither safetensors nor a file of torch.save")
}

// isText reports whether the first bytes of a file are text, of which the last letter may be cut.
func isText(head []byte) bool {
	for n := 0; n < utf8.UTFMax && len(head) > 0 && !utf8.Valid(head); n++ {
		head = head[:len(head)-1]
	}
	return len(head) > 0 && utf8.Valid(head) && bytes.IndexFunc(head, func(r rune) bool {
		return !unicode.IsPrint(r) && !unicode.IsSpace(r)
	}) < 0
}
