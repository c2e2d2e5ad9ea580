package data

import (
	"bufio"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/internal/regularfile"
)

// numberedPNG is how the images of a run of generate are called.
var numberedPNG = regexp.MustCompile(`^[0-9]{6,}\.png$`)

// generated says which files of a folder that generate wrote are its images: all but the contact
// sheet. It is nil, which is all files, for other folders.
func generated(root string) func(name string) bool {
	f, _, err := regularfile.Open(filepath.Join(root, "000000.png"))
	if err != nil {
		return nil
	}
	defer f.Close()
	texts, err := raster.DecodeTexts(bufio.NewReader(f))
	if err != nil || !slices.Contains(texts, raster.Text{Key: "index", Value: "0"}) {
		return nil
	}
	return numberedPNG.MatchString
}
