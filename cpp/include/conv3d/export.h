/* CONV3D_API: marks what the shared library exports. */
#ifndef CONV3D_EXPORT_H
#define CONV3D_EXPORT_H

#if defined(CONV3D_STATIC)
#define CONV3D_API
#elif defined(_WIN32)
#if defined(CONV3D_BUILDING_LIBRARY)
#define CONV3D_API __declspec(dllexport)
#else
#define CONV3D_API __declspec(dllimport)
#endif
#else
#define CONV3D_API __attribute__((visibility("default")))
#endif

#endif
