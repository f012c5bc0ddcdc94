"""Does it stay whole: killed while it saves, and over many steps?"""
