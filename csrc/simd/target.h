/* MLC_TARGET_BEGIN("avx2,fma") compiles what follows for those instructions, whatever flags the
 * build uses, so that one plain compiler call builds every instruction set. Include system headers
 * before it. */
#define MLC_DO_PRAGMA(x) _Pragma(#x)
#if defined(__clang__)
#define MLC_TARGET_BEGIN(isa)                                                                      \
    MLC_DO_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define MLC_TARGET_END MLC_DO_PRAGMA(clang attribute pop)
#else
#define MLC_TARGET_BEGIN(isa) MLC_DO_PRAGMA(GCC push_options) MLC_DO_PRAGMA(GCC target(isa))
#define MLC_TARGET_END MLC_DO_PRAGMA(GCC pop_options)
#endif
