package spelling

import "testing"

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"otter", "otter", 0}, {"oter", "otter", 1}, {"ottre", "otter", 1},
		{"udder", "otter", 3}, {"größe", "grösse", 2}, {"a", "abcdefgh", 6},
	} {
		t.Run(test.a+" "+test.b, func(t *testing.T) {
			if got := Distance(test.a, test.b, 5); got != test.want {
				t.Errorf("%q, %q: %d, want %d", test.a, test.b, got, test.want)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	words := []string{"ratio", "order", "threshold", "k", "k1"}
	for _, test := range []struct{ word, want string }{
		{"ratoi", "ratio"}, {"treshhold", "threshold"}, {"k2", "k"}, {"orders", "order"}, {"seed", ""}, {"", "k"},
	} {
		t.Run(test.word, func(t *testing.T) {
			if got := Nearest(words, test.word); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
