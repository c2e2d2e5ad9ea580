package eval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/tensor"
)

// CaptionKey is what texts have in common that name the same thing: the text in lower case, its
// words one space apart, without an article before it, a full stop behind it, and a style that
// stands before or behind a comma: "A red heart, 3d style" is "red heart".
func CaptionKey(text string) string {
	text = strings.Join(strings.Fields(strings.ToLower(text)), " ")
	parts := strings.Split(strings.TrimRight(text, ".! "), ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	if n := len(parts); n > 1 && isStyle(parts[n-1]) {
		parts = parts[:n-1]
	}
	if len(parts) > 1 && isStyle(parts[0]) {
		parts = parts[1:]
	}
	text = strings.Join(parts, ", ")
	for _, article := range []string{"a ", "an ", "the "} {
		if rest, ok := strings.CutPrefix(text, article); ok {
			return rest
		}
	}
	return text
}

// isStyle reports whether a part of a caption is a style, such as "3d style".
func isStyle(part string) bool { return strings.HasSuffix(part, " style") }

// byCaption returns the classes that each of Captions names.
func (c ClassifierConfig) byCaption() map[string][]int32 {
	if c.Captions == nil {
		return nil
	}
	classes := map[string][]int32{}
	for class, keys := range c.Captions {
		for _, key := range keys {
			classes[key] = append(classes[key], int32(class))
		}
	}
	return classes
}

// Retrieval says how many images a Classifier recognises as what their prompts say.
type Retrieval struct {
	// Share of the N images whose most likely class has their prompt among its captions.
	Share Estimate
	N     int // images whose prompts name a class; of the others nothing is said
	// Unknown is the number of images whose prompts name no class, and First the first such prompt.
	Unknown int
	First   string
}

// note says which images were left out; "" if none were.
func (r *Retrieval) note() string {
	if r.Unknown == 0 {
		return ""
	}
	return fmt.Sprintf("left out of the prompt retrieval are %d of %d samples, "+
		"whose prompts name no class of the classifier: the first is %.80q", r.Unknown, r.N+r.Unknown, r.First)
}

// ErrNoCaptions reports a classifier that was not trained on captions.
var ErrNoCaptions = errors.New("the classifier knows no captions")

// Retrieve classifies the images and compares their classes with their Prompts. If no prompt names a
// class, N is 0. The error of a classifier without Captions is ErrNoCaptions.
func (n *Classifier) Retrieve(ctx context.Context, images Images, threads int) (*Retrieval, error) {
	if n.byCaption == nil {
		return nil, ErrNoCaptions
	}
	pool := tensor.NewPool(threads)
	defer pool.Close()
	p, err := images.predictions(ctx, tensor.NewGraph(pool), n, nil)
	if err != nil {
		return nil, err
	}
	return n.RetrievalOf(p, images.Prompts)
}

// RetrievalOf is Retrieve for images of which p has the classes already. There is a prompt for each,
// "" if it has none.
func (n *Classifier) RetrievalOf(p *Predictions, prompts []string) (*Retrieval, error) {
	switch {
	case n.byCaption == nil:
		return nil, ErrNoCaptions
	case len(prompts) != len(p.Classes):
		return nil, fmt.Errorf("prompt retrieval of %d images: %d prompts", len(p.Classes), len(prompts))
	}
	r := &Retrieval{}
	var right []bool
	for i, prompt := range prompts {
		named := n.byCaption[CaptionKey(prompt)]
		if len(named) == 0 {
			if r.Unknown == 0 {
				r.First = prompt
			}
			r.Unknown++
			continue
		}
		right = append(right, slices.Contains(named, p.Classes[i]))
	}
	if r.N = len(right); r.N == 0 {
		return r, nil
	}
	var err error
	r.Share, err = BootstrapShare(right, estimateSeed)
	return r, err
}
