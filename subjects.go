package tokencache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/internal/classes"
	"github.com/tokencache/tokencache/minit2i"
)

// Subjects are what the images of a calibration or a comparison show in turn: all classes of a
// class-conditional model, or prompts of a text-to-image model. Image i shows subject i modulo Len.
type Subjects struct {
	count      int         // classes
	conditions []Condition // of the prompts; nil where there are classes
	prompts    []string
	digest     string // of the prompts
}

// Subjects returns all classes of a class-conditional model, which takes no prompts, or prompts of
// a text-to-image model, with what is to be said of each: see Prompts.
func (p *Pipeline) Subjects(ctx context.Context, prompts []string) (*Subjects, []PromptRemark, error) {
	if len(prompts) == 0 {
		s, err := p.SubjectsOr(nil)
		return s, nil, err
	}
	conditions, remarks, err := p.Prompts(ctx, prompts)
	if err != nil {
		return nil, nil, err
	}
	h := sha256.New()
	for _, c := range conditions {
		fmt.Fprintln(h, c.(*minit2i.Prompt).Digest())
	}
	digest := hex.EncodeToString(h.Sum(nil)[:16])
	return &Subjects{conditions: conditions, prompts: slices.Clone(prompts), digest: digest}, remarks, nil
}

// SubjectsOr returns s or, if it is nil, all classes of the model, which a text-to-image model has
// not.
func (p *Pipeline) SubjectsOr(s *Subjects) (*Subjects, error) {
	switch {
	case s != nil:
		return s, nil
	case p.TakesPrompts():
		return nil, &FieldError{Field: "Subjects", Value: "none", Want: fmt.Sprintf("prompts, which %s takes", p.Name())}
	}
	return &Subjects{count: p.Classes()}, nil
}

// Len returns how many there are.
func (s *Subjects) Len() int {
	if s.prompts != nil {
		return len(s.prompts)
	}
	return s.count
}

// Prompts returns the prompts, nil of classes.
func (s *Subjects) Prompts() []string { return s.prompts }

// Condition returns what image i is conditioned on.
func (s *Subjects) Condition(i int) Condition {
	if s.prompts != nil {
		return s.conditions[i%len(s.conditions)]
	}
	return classCondition(i % s.count)
}

// Cycle makes a request one of a number of images that show the subjects in turn.
func (s *Subjects) Cycle(req *Request, images int) {
	s.Show(req, images, func(i int) int { return i % s.Len() })
}

// Spread is Cycle where there are no fewer images than subjects; of fewer images the subjects are
// evenly apart.
func (s *Subjects) Spread(req *Request, images int) {
	if all := s.Len(); images < all {
		s.Show(req, images, func(i int) int { return i * all / images })
		return
	}
	s.Cycle(req, images)
}

// Show makes a request one of a number of images that show chosen subjects.
func (s *Subjects) Show(req *Request, images int, subject func(image int) int) {
	req.Classes, req.Conditions = nil, nil
	for i := range images {
		if s.prompts != nil {
			req.Conditions = append(req.Conditions, s.conditions[subject(i)])
		} else {
			req.Classes = append(req.Classes, subject(i))
		}
	}
}

// String says how many subjects there are of which kind, for people.
func (s *Subjects) String() string {
	if s.prompts != nil {
		return fmt.Sprintf("%d prompts", len(s.prompts))
	}
	return fmt.Sprintf("%d classes", s.count)
}

// Digest identifies prompts by what the model is given of them; "" is all classes, which the model
// itself identifies.
func (s *Subjects) Digest() string { return s.digest }

// Labels returns what each image of a request shows, for people: its class's name or number, or its
// prompt.
func (p *Pipeline) Labels(req Request) []string {
	list := make([]string, req.Images())
	for i := range list {
		switch {
		case len(req.Classes) == 0:
			list[i], _ = PromptOf(req.Conditions[i])
		case p.names != nil:
			list[i] = classes.Short(p.names[req.Classes[i]])
		default:
			list[i] = fmt.Sprintf("class %d", req.Classes[i])
		}
	}
	return list
}
