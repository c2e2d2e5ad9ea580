module github.com/tokencache/tokencache/internal/kernel/_asm

go 1.26
