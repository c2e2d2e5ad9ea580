package diffusion

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tokencache/tokencache/internal/bounded"
	"pgregory.net/rapid"
)

func TestSpace(t *testing.T) {
	for _, test := range []struct {
		n    int
		spec string
		want []int
	}{
		{1000, "10", []int{0, 111, 222, 333, 444, 555, 666, 777, 888, 999}},
		{1000, "1", []int{0}},
		{1000, "2", []int{0, 999}},
		{1000, "20", []int{0, 53, 105, 158, 210, 263, 315, 368, 421, 473, 526, 578, 631, 684, 736, 789, 841, 894, 946, 999}},
		{1000, "ddim4", []int{0, 250, 500, 750}},
		{10, "ddim10", []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{10, "ddim5", []int{0, 2, 4, 6, 8}},
		{10, "6", []int{0, 2, 4, 5, 7, 9}}, // 1.8, 3.6, 5.4, 7.2
		{6, "3", []int{0, 2, 5}},           // 2.5 goes to the even neighbour
		{8, "3", []int{0, 4, 7}},           // 3.5 likewise
		{10, "2,3", []int{0, 4, 5, 7, 9}},
		{11, "2, 3", []int{0, 5, 6, 8, 10}}, // the odd timestep goes to the first section
		{9, "3,2,1", []int{0, 1, 2, 3, 5, 6}},
		// 149: seven strides of 99/14 add up to just below 49.5.
		{200, "10,15", []int{0, 11, 22, 33, 44, 55, 66, 77, 88, 99, 100, 107, 114, 121, 128, 135, 142, 149, 157, 164, 171, 178, 185, 192, 199}},
	} {
		got, err := Space(test.n, test.spec)
		if err != nil {
			t.Errorf("Space(%d, %q): %v", test.n, test.spec, err)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("Space(%d, %q) (-want +got):\n%s", test.n, test.spec, diff)
		}
	}
}

// TestSpaceAllCounts holds every even spacing of 1000 timesteps at once, by a checksum of the
// published rule's lists.
func TestSpaceAllCounts(t *testing.T) {
	hash := sha256.New()
	for count := 1; count <= 1000; count++ {
		steps, err := Space(1000, fmt.Sprint(count))
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range steps {
			fmt.Fprintln(hash, step)
		}
	}
	const want = "3348af823fe6e7989592e03b9efcb84986b885a70671e0a4880c2cc4ab7a452a"
	if got := fmt.Sprintf("%x", hash.Sum(nil)); got != want {
		t.Errorf("checksum %s, want %s", got, want)
	}
}

func TestSpaceErrors(t *testing.T) {
	for _, test := range []struct{ spec, want string }{
		{"0", "want 1 to 1000"},
		{"1001", "want 1 to 1000"},
		{"-5", "want a number such as 250"},
		{"", "want a number such as 250"},
		{"ten", "want a number such as 250"},
		{"5.5", "want a number such as 250"},
		{"99999999999999999999", "want a number such as 250"},
		{"10,,20", "want a number such as 250"},
		{"0,0", "section 1 has none, want 1 or more in each"},
		{"3,0", "section 2 has none, want 1 or more in each"},
		{"3,0,1", "section 2 has none, want 1 or more in each"},
		{"600,1", "section 1 has 500 timesteps, too few for 600 steps"},
		{"ddim", "want ddim followed by 1 to 1000"},
		{"ddim0", "want ddim followed by 1 to 1000"},
		{"ddim1001", "want ddim followed by 1 to 1000"},
		{"ddim-3", "want ddim followed by 1 to 1000"},
		{"ddim60", "no whole stride through 1000 timesteps gives exactly 60 steps"},
		{"ddim1", "no whole stride"},
		{strings.Repeat("1,", 1000) + "1", "1001 sections of 1000 timesteps"},
		{strings.Repeat("x", 1e6), "..."},
	} {
		got, err := Space(1000, test.spec)
		if err == nil || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 200 {
			t.Errorf("Space(1000, %.40q) = %v, %.300v, want an error with %q", test.spec, got, err, test.want)
		}
	}
}

func TestSpaceLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1200).Draw(t, "n")
		sections := rapid.IntRange(1, min(n, 5)).Draw(t, "sections")
		var fields []string
		sum, last := 0, 0
		for range sections {
			last = rapid.IntRange(1, n/sections).Draw(t, "count")
			fields = append(fields, fmt.Sprint(last))
			sum += last
		}
		steps, err := Space(n, strings.Join(fields, ","))
		if err != nil {
			t.Fatal(err)
		}
		if len(steps) != sum {
			t.Fatalf("%d steps, want %d", len(steps), sum)
		}
		if steps[0] != 0 {
			t.Fatalf("first timestep %d", steps[0])
		}
		if last > 1 && steps[sum-1] != n-1 {
			t.Fatalf("last timestep %d of %d", steps[sum-1], n)
		}
		for i := range steps[1:] {
			if steps[i] >= steps[i+1] {
				t.Fatalf("not rising at %d: %v", i, steps)
			}
		}
	})
}

func FuzzSpace(f *testing.F) {
	for _, spec := range []string{"250", "ddim50", "10,15,20", "0", "ddim", "1,,2", "999999999999"} {
		f.Add(1000, spec)
	}
	f.Fuzz(func(t *testing.T, n int, spec string) {
		bounded.Run(t, len(spec), func() {
			if n < 1 || n > 2000 {
				return
			}
			steps, err := Space(n, spec)
			if err == nil && (len(steps) == 0 || len(steps) > n || !slices.IsSorted(steps) || steps[0] < 0 || steps[len(steps)-1] >= n) {
				t.Errorf("Space(%d, %q) = %v", n, spec, steps)
			}
		})
	})
}
