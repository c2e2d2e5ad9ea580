package data

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/tokencache/tokencache/internal/regularfile"
)

// CaptionsFile is the file of a folder of images that says what they show: a JSON object in each
// line with "file", from the folder; "captions", one or more texts that say the same; and "mirror",
// true if they also hold for the image mirrored left to right. Other keys are passed over.
const CaptionsFile = "captions.jsonl"

const (
	maxCaptionsFile = 1 << 30 // bytes
	maxCaptionsLine = 1 << 20
)

// Captions are what a CaptionsFile says of an image.
type Captions struct {
	File   string   `json:"file"`
	Texts  []string `json:"captions"`
	Mirror bool     `json:"mirror"`
}

// OpenCaptioned opens a folder of images that its CaptionsFile names, and returns what it says of
// each. They have no classes.
func OpenCaptioned(ctx context.Context, dir string, o Options) (*Set, []Captions, error) {
	s, list, err := openCaptioned(ctx, dir, o)
	if err != nil {
		return nil, nil, fmt.Errorf("data %s: %w", dir, err)
	}
	s.ctx, s.Path, s.options = ctx, dir, o
	return s, list, nil
}

func openCaptioned(ctx context.Context, dir string, o Options) (*Set, []Captions, error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	if err := o.undivided(); err != nil {
		return nil, nil, err
	}
	list, err := readCaptions(filepath.Join(dir, CaptionsFile))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", CaptionsFile, err)
	}
	images := &imageList{ctx: ctx, root: dir, options: o}
	kept := list[:0]
	for _, c := range list {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		before := len(images.names)
		if err := images.addFile(filepath.FromSlash(c.File)); err != nil {
			return nil, nil, err
		}
		if len(images.names) > before {
			kept = append(kept, c)
		}
	}
	s := &Set{Kind: "captioned images", images: &imageFiles{root: dir, names: images.names}}
	for range kept {
		s.Labels = append(s.Labels, -1)
	}
	return s, kept, s.settle(o, images.height, images.width, 3)
}

// readCaptions reads a CaptionsFile.
func readCaptions(path string) ([]Captions, error) {
	f, size, err := regularfile.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	if size > maxCaptionsFile {
		return nil, fmt.Errorf("%d bytes, want at most %d", size, maxCaptionsFile)
	}
	return parseCaptions(f)
}

func parseCaptions(r io.Reader) ([]Captions, error) {
	var list []Captions
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxCaptionsLine)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var c Captions
		err := json.Unmarshal(lines.Bytes(), &c)
		if err == nil {
			err = c.check()
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		list = append(list, c)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("no images")
	}
	return list, nil
}

func (c *Captions) check() error {
	switch {
	case c.File == "":
		return errors.New(`no "file"`)
	case !filepath.IsLocal(filepath.FromSlash(c.File)):
		return fmt.Errorf("file %.80q: want one within the folder", c.File)
	case len(c.Texts) == 0:
		return fmt.Errorf(`%.80q has no "captions"`, c.File)
	}
	for _, text := range c.Texts {
		if strings.TrimSpace(text) == "" {
			return fmt.Errorf("%.80q has an empty caption", c.File)
		}
	}
	return nil
}
