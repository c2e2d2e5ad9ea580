package tokencache_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/tokencache/tokencache"
)

// TestImageClasses checks the classes of images where classes, a count, both or neither are given.
func TestImageClasses(t *testing.T) {
	p := small(t, tokencache.Options{Threads: 1})
	all := make([]int, p.Config().NumClasses)
	for i := range all {
		all[i] = i
	}
	for _, test := range []struct {
		selections []string
		count      int
		want       []int
	}{
		{nil, 0, all[:min(len(all), 16)]},
		{nil, 2, []int{0, 1}},
		{nil, len(all) + 1, append(slices.Clone(all), 0)},
		{[]string{"3,5", "1"}, 0, []int{3, 5, 1}},
		{[]string{"3,5"}, 3, []int{3, 5, 3}},
		{[]string{"3,5"}, 1, []int{3}},
	} {
		t.Run(fmt.Sprint(test.selections, test.count), func(t *testing.T) {
			got, err := p.ImageClasses(test.selections, test.count)
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %v (%v), want %v", got, err, test.want)
			}
		})
	}
	var field *tokencache.FieldError
	if _, err := p.ImageClasses(nil, -1); !errors.As(err, &field) || field.Field != "Count" {
		t.Errorf("count -1: error %v, want a FieldError of Count", err)
	}
	if _, err := p.ImageClasses([]string{"otter"}, 1); err == nil {
		t.Error("a class that is not there: no error")
	}
}
